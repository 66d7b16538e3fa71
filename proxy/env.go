package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What mistakes in an environment come to: the summaries of an EnvError, in
// linkerd2-proxy's words as far as it has them.
var (
	ErrBadVariable   = errors.New("invalid environment variable")
	ErrNoDestination = errors.New("no destination service configured")
	ErrNoPolicy      = errors.New("no policy service configured")
	ErrIdentityNames = errors.New("linkerd identity requires a TLS Id and server name to be the same")
	ErrNoIdentity    = errors.New("no identity configured, and not unmeshed on purpose")
	ErrNotSupported  = errors.New("a setting is not supported yet")
)

// unmeshed is the name of the variable that does without identity.
const unmeshed = outrigger + "UNMESHED"

// An EnvError is everything that is wrong with an environment. Its text, made to
// be printed as it is, has a line for each mistake and for each summary. The
// process then ends with status 64 (EX_USAGE).
type EnvError struct {
	Mistakes  []string // each names its variable, and quotes its value
	Summaries []error
}

func (e *EnvError) Error() string {
	lines := slices.Clone(e.Mistakes)
	for _, s := range e.Summaries {
		lines = append(lines, "Invalid configuration: "+s.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the summaries, for errors.Is.
func (e *EnvError) Unwrap() []error { return e.Summaries }

// A Warning is about a variable that is set, or missing, and does not do what
// one might think.
type Warning struct {
	Name   string // of the variable
	Reason string // goes on from the name, as "is not obeyed yet"
}

func (w Warning) String() string { return w.Name + " " + w.Reason }

// ReadEnv makes a Config of an environment, which is "NAME=value" each as
// os.Environ returns it. Of a name that occurs twice the last value counts, as
// for the container runtimes that build environments. A variable that is set to
// nothing is set: its type decides whether nothing is a value. The error is an
// *EnvError that has all mistakes together.
func ReadEnv(environ []string) (Config, []Warning, error) {
	var c Config
	r := newEnvReader(environ)
	table := newEnvTable(&c)
	for _, v := range table.vars {
		r.read(v)
	}
	r.unknown(table)
	r.settle(&c)
	if len(r.wrong.Summaries) > 0 {
		return Config{}, r.warnings, &r.wrong
	}
	return c, r.warnings, nil
}

// An envReader is an environment, and what was found to be wrong with it.
type envReader struct {
	values   map[string]string
	names    []string // of values, in order
	wrong    EnvError
	refused  map[string]bool // variables, for their value
	meshed   []string        // variables about identity that are set
	warnings []Warning
}

func newEnvReader(environ []string) *envReader {
	r := &envReader{
		values:  make(map[string]string, len(environ)),
		refused: make(map[string]bool),
	}
	for _, e := range environ {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			continue
		}
		if _, twice := r.values[name]; !twice {
			r.names = append(r.names, name)
		}
		r.values[name] = value
	}
	return r
}

// read sets v's part of the Config by what is in the environment, or else by
// v's default.
func (r *envReader) read(v *envVar) {
	name, set := r.spelling(v)
	text := v.Default
	if set {
		text = r.values[name]
	} else if text == "" {
		return
	}
	err := errNotUnicode
	if utf8.ValidString(text) {
		err = v.set(text)
	}
	switch {
	case err != nil:
		r.bad(v, name, err)
	case !set:
	case v.Obeyed == obeyedIdentity:
		r.meshed = append(r.meshed, name)
	case v.Obeyed == obeyedNotYet && text != v.Default:
		r.warn(name, "is not obeyed yet")
	}
}

// bad refuses the value of v, which is set by name, or has v's default stand.
func (r *envReader) bad(v *envVar, name string, err error) {
	if !v.lenient {
		r.refuse(name, err)
		return
	}
	r.warn(name, fmt.Sprintf("is ignored: its value %s is not valid: %v", quoted(r.values[name]), err))
	if v.Default != "" {
		_ = v.set(v.Default) // a test sees that it is valid
	}
}

// spelling returns the name by which v is set, or else v's first name.
func (r *envReader) spelling(v *envVar) (name string, set bool) {
	switch {
	case v.fixed:
		return v.Name, false
	case !r.isSet(v.Name) && v.Alias != "" && r.isSet(v.Alias):
		return v.Alias, true
	default:
		return v.Name, r.isSet(v.Name)
	}
}

var errNotUnicode = errors.New("not encoded in Unicode")

// isSet reports whether one of the variables is there, if only to be empty.
func (r *envReader) isSet(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		_, ok := r.values[name]
		return ok
	})
}

// refuse notes that the value of a variable is wrong.
func (r *envReader) refuse(name string, err error) {
	r.refused[name] = true
	if errors.Is(err, errNotUnicode) {
		r.mistake(ErrBadVariable, name+" is "+err.Error())
		return
	}
	r.mistake(ErrBadVariable, fmt.Sprintf("%s=%s is not valid: %v", name, quoted(r.values[name]), err))
}

// unbuilt notes that the value of a variable asks for what is not there.
func (r *envReader) unbuilt(name, why string) {
	r.mistake(ErrNotSupported, fmt.Sprintf("%s=%s is not supported yet: %s", name, quoted(r.values[name]), why))
}

func (r *envReader) mistake(summary error, text string) {
	r.wrong.Mistakes = append(r.wrong.Mistakes, text)
	if !slices.Contains(r.wrong.Summaries, summary) {
		r.wrong.Summaries = append(r.wrong.Summaries, summary)
	}
}

func (r *envReader) warn(name, reason string) {
	r.warnings = append(r.warnings, Warning{name, reason})
}

// unknown warns of variables that have our prefixes and are not ours: they may
// be misspelt.
func (r *envReader) unknown(t *envTable) {
	known := make(map[string]bool, 2*len(t.vars))
	for _, v := range t.vars {
		known[v.Name], known[v.Alias] = true, true
	}
	for _, name := range r.names {
		if !known[name] && (strings.HasPrefix(name, linkerd) || strings.HasPrefix(name, outrigger)) {
			r.warn(quoted(name), "is not a variable of this proxy")
		}
	}
}

// maxQuoted bounds how much of a value is shown, in bytes. Trust anchors are
// long.
const maxQuoted = 200

// quoted is s as it may be shown: without control characters, and not whole if
// it is long.
func quoted(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:maxQuoted]) + "…"
}
