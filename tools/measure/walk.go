package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// walk counts what is in each folder below root that holds Go files.
func walk(root string, skip []string) (map[string]*sizes, error) {
	folders := map[string]*sizes{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (slices.Contains(skip, d.Name()) || strings.HasPrefix(d.Name(), ".")):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		dir := filepath.Dir(path)
		if folders[dir] == nil {
			folders[dir] = &sizes{}
		}
		return folders[dir].file(path)
	})
	return folders, err
}

// file counts one file, unless it is generated.
func (s *sizes) file(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, source, parser.ParseComments)
	if err != nil || ast.IsGenerated(f) {
		return err
	}
	lines := bytes.Count(source, []byte("\n"))
	if strings.HasSuffix(path, "_test.go") {
		s.testFiles++
		s.testLines += lines
		s.testFuncs(f)
		return nil
	}
	s.files++
	s.lines += lines
	s.fileLines = append(s.fileLines, lines)
	if f.Doc != nil {
		s.packageDocs++
	}
	for _, c := range f.Comments {
		s.comments += span(set, c)
	}
	for _, d := range f.Decls {
		s.decl(set, path, d)
	}
	return nil
}

func (s *sizes) testFuncs(f *ast.File) {
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv != nil {
			continue
		}
		for prefix, n := range map[string]*int{"Test": &s.tests, "Example": &s.examples, "Benchmark": &s.benchmarks, "Fuzz": &s.fuzzes} {
			if strings.HasPrefix(fn.Name.Name, prefix) {
				*n++
			}
		}
	}
}

func (s *sizes) decl(set *token.FileSet, path string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		s.name(d.Name, d.Doc != nil)
		if d.Body != nil {
			name := fmt.Sprintf("%s:%d %s", path, set.Position(d.Pos()).Line, d.Name.Name)
			s.funcs = append(s.funcs, function{name, span(set, d), branches(d.Body)})
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			s.spec(d, spec)
		}
	}
}

func (s *sizes) spec(d *ast.GenDecl, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		s.name(spec.Name, d.Doc != nil || spec.Doc != nil)
		if i, ok := spec.Type.(*ast.InterfaceType); ok {
			s.interfaces++
			s.methods += len(i.Methods.List)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			s.name(name, d.Doc != nil || spec.Doc != nil || spec.Comment != nil)
		}
	}
}

func (s *sizes) name(n *ast.Ident, documented bool) {
	if !n.IsExported() {
		return
	}
	s.exported++
	if documented {
		s.documented++
	}
}

// branches counts the ways through a function.
func branches(body ast.Node) int {
	n := 1
	ast.Inspect(body, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CaseClause, *ast.CommClause:
			n++
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

func span(set *token.FileSet, n ast.Node) int {
	return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1
}
