// Command measure walks Go trees and prints their sizes: of functions, files,
// interfaces, documentation and tests. It judges nothing: what the numbers are
// compared with stands in docs/reviews. Generated files are left out.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	each := flag.Bool("d", false, "print each folder, too")
	skip := flag.String("skip", "vendor,testdata,node_modules", "folders to leave out, by name")
	big := flag.Int("big", 0, "list so many of the longest functions")
	flag.Parse()
	var longest []function
	for _, root := range flag.Args() {
		folders, err := walk(root, strings.Split(*skip, ","))
		if err != nil {
			fmt.Fprintln(os.Stderr, "measure:", err)
			os.Exit(1)
		}
		total := &sizes{}
		for _, dir := range slices.Sorted(maps.Keys(folders)) {
			if *each {
				folders[dir].print(dir, 1)
			}
			total.add(folders[dir])
		}
		total.print("TOTAL "+root, len(folders))
		longest = append(longest, total.funcs...)
	}
	slices.SortStableFunc(longest, func(a, b function) int { return b.lines - a.lines })
	for _, f := range longest[:min(*big, len(longest))] {
		fmt.Println(f.lines, f.name)
	}
}
