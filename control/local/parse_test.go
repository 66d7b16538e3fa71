package local

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestParse(t *testing.T) {
	m := mesh(t, example)
	want := []string{"db.demo.svc.cluster.local:3306", "plain:8080", "web.demo.svc.cluster.local:80", "web.demo.svc.cluster.local:9090"}
	if got := m.Services(); !slices.Equal(got, want) {
		t.Errorf("services %v, want %v", got, want)
	}
	for _, empty := range []string{"services: []", "services:", "{services: ~}", "services:\n- {name: a, port: 1, endpoints: , profile: }"} {
		mesh(t, empty)
	}
}

// service is a file whose one service begins in line 2 and ends with more.
func service1(more string) string {
	return "services:\n- name: web\n  port: 80\n" + more
}

func TestParseMistakes(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		// The file.
		{"", "1: the file is empty"},
		{"# nothing\n", "1: the file is empty"},
		{"services: []\n---\nservices: []\n", "the file has more than one document"},
		{"services: [\n", "not YAML"},
		{"services:\n  - a\n - b\n", "not YAML"},
		{"a\x00b", "not YAML"},
		{"- a", "1: the file is a list, not a mapping"},
		{"service: []", `1: the file has no key "service"; it has identity, services`},
		{"{}", "1: the file has no services"},
		{"services: {}", "1: services is a mapping, not a list"},
		{"services: []\nservices: []", `2: the file has the key "services" twice`},
		{"services: [x]", `1: a service is "x", not a mapping`},
		{"services: &s\n- *s", "2: aliases (*s) are not supported"},
		{"? [a]\n: b", "1: the file has a key that is a list"},

		// A service.
		{"services:\n- port: 80", "2: a service has no name"},
		{"services:\n- name: web", "2: a service has no port"},
		{"services:\n- {name: 10.0.0.1, port: 80}", `2: name "10.0.0.1": is an IP address, not a name`},
		{"services:\n- {name: a..b, port: 80}", `2: name "a..b": "" is not a label of a DNS name`},
		{"services:\n- {name: a_b-, port: 80}", "is not a label"},
		{"services:\n- {name: '', port: 80}", "the name is empty"},
		{"services:\n- {name: , port: 80}", "name is empty, not a text"},
		{"services:\n- {name: [], port: 80}", "name is a list, not a text"},
		{"services:\n- {name: " + strings.Repeat("a.", 127) + ", port: 80}", ""},
		{"services:\n- {name: " + strings.Repeat("a.", 127) + "a, port: 80}", "over 253"},
		{"services:\n- {name: web, port: 0}", `2: port is "0", not a number from 1 to 65535`},
		{"services:\n- {name: web, port: 65536}", "2: port"},
		{"services:\n- {name: web, port: -1}", "2: port"},
		{"services:\n- {name: web, port: 0x50}", "2: port"},
		{"services:\n- {name: web, port: '80'}", "2: port"},
		{"services:\n- {name: web, port: 80.0}", "2: port"},
		{service1("  ports: 80"), `4: a service has no key "ports"`},
		{service1("  port: 81"), `4: a service has the key "port" twice`},
		{service1("  clusterIP: web"), `4: clusterIP "web" is not an IP address`},
		{service1("  clusterIP: 0.0.0.0"), "4: clusterIP"},
		{service1("  clusterIP: fe80::1%eth0"), "4: clusterIP"},
		{service1("  clusterIP: 10.0.0.1:80"), "4: clusterIP"},
		{service1("  clusterIP: []"), "4: clusterIP is a list"},
		{service1("  opaque: 1"), `4: opaque is "1", not true or false`},
		{service1("- name: WEB.\n  port: 80"), "4: service web:80 is in line 2 already"},
		{
			service1("  clusterIP: 10.0.0.1\n- name: other\n  port: 80\n  clusterIP: 10.0.0.1"),
			"5: clusterIP 10.0.0.1:80 of service other:80 is that of service web:80 in line 2",
		},

		// An endpoint.
		{service1("  endpoints: {}"), "4: endpoints is a mapping, not a list"},
		{service1("  endpoints:\n  - weight: 1"), "5: an endpoint has no address"},
		{service1("  endpoints:\n  - 127.0.0.1:80"), `5: an endpoint is "127.0.0.1:80", not a mapping`},
		{service1("  endpoints:\n  - address: 127.0.0.1"), `5: address "127.0.0.1" is not ip:port`},
		{service1("  endpoints:\n  - address: localhost:80"), "5: address"},
		{service1("  endpoints:\n  - address: 127.0.0.1:0"), "5: address"},
		{service1("  endpoints:\n  - address: 0.0.0.0:80"), "5: address"},
		{service1("  endpoints:\n  - address: '[fe80::1%lo]:80'"), "5: address"},
		{service1("  endpoints:\n  - address: 224.0.0.1:80"), "5: address"},
		{service1("  endpoints:\n  - address: [a]"), "5: address is a list"},
		{service1("  endpoints:\n  - address: 127.0.0.1:80\n  - address: '[::ffff:127.0.0.1]:80'"), "6: endpoint 127.0.0.1:80 is in line 5 already"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', weight: 4294967296}"), `5: weight is "4294967296", not a number from 0 to 4294967295`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', weight: 99999999999999999999}"), "5: weight"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', protocol: http}"), `5: protocol "http" is neither h2 nor opaque`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', protocol: {}}"), "5: protocol is a mapping"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', labels: a}"), "5: labels is"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', labels: {a-b: c}}"), `5: label "a-b" is not letters`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', labels: {a: []}}"), `5: label "a" is a list`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', labels: {a: b, a: c}}"), `5: label "a" is there twice`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', labels: {[a]: b}}"), "5: label a list"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: web.}"), `5: identity "web." is neither a DNS name nor`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: 10.0.0.1}"), `5: identity "10.0.0.1" is neither`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: []}"), "5: identity is a list"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: 'spiffe://a/b'}"), "5: an endpoint whose identity is a URI has no serverName"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: web, serverName: 10.0.0.1}"), `5: serverName "10.0.0.1": is an IP address`},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: web, serverName: []}"), "5: serverName is a list"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', serverName: web}"), "5: an endpoint with a serverName has no identity"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', inboundPort: 4143}"), "5: an endpoint with an inboundPort has no identity"},
		{service1("  endpoints:\n  - {address: '127.0.0.1:80', identity: web, inboundPort: 0}"), `5: inboundPort is "0", not a number from 1 to 65535`},

		// Identity.
		{"services: []\nidentity: {}", "2: identity has no tokens"},
		{"services: []\nidentity: []", "2: identity is a list"},
		{"services: []\nidentity: {tokens: a}", "2: identity has either a directory, or all of anchors, issuer and issuerKey"},
		{"services: []\nidentity: {tokens: a, anchors: b, issuer: c}", "2: identity has either"},
		{"services: []\nidentity: {tokens: a, anchors: b, issuer: c, issuerKey: d, directory: e}", "2: identity has either"},
		{"services: []\nidentity: {tokens: '', directory: e}", "2: tokens is empty"},
		{"services: []\nidentity: {tokens: [], directory: e}", "2: tokens is a list"},
		{"services: []\nidentity: {tokens: a, directory: b, lifetime: 1}", `2: lifetime "1" is not a duration from 1s to 87600h`},
		{"services: []\nidentity: {tokens: a, directory: b, lifetime: 999ms}", "2: lifetime"},
		{"services: []\nidentity: {tokens: a, directory: b, lifetime: []}", "2: lifetime is a list"},
		{"services: []\nidentity: {tokens: a, directory: b, trustDomain: 'a b'}", `2: name "a b"`},
		{"services: []\nidentity: {token: a}", `2: identity has no key "token"`},

		// A profile.
		{service1("  profile: []"), "4: a profile is a list"},
		{service1("  profile: {retryBudget: {}}"), "4: retryBudget is not supported until retries and timeouts are built"},
		{service1("  profile: {dstOverrides: []}"), "4: dstOverrides is called overrides here"},
		{service1("  profile: {routes: [{name: a}]}"), "4: a route has no condition"},
		{service1("  profile: {routes: [{condition: {method: GET}}]}"), "4: a route has no name"},
		{service1("  profile: {routes: [{name: a, condition: {}}]}"), "4: a condition needs one of"},
		{service1("  profile: {routes: [{name: a, condition: {path: /}}]}"), `4: a condition has no key "path"`},
		{service1("  profile: {routes: [{name: a, condition: {method: 'G T'}}]}"), `4: method "G T" is not a token`},
		{service1("  profile: {routes: [{name: a, condition: {pathRegex: ''}}]}"), "4: pathRegex is empty"},
		{service1("  profile: {routes: [{name: a, condition: {pathRegex: '('}}]}"), `4: pathRegex "(": error parsing regexp`},
		{service1("  profile: {routes: [{name: a, condition: {any: []}}]}"), "4: all or any is empty"},
		{service1("  profile: {routes: [{name: a, condition: {all: {}}}]}"), "4: all or any is a mapping"},
		{service1("  profile: {routes: [{name: a, condition: " + strings.Repeat("{not: ", 20) + "{method: GET}" + strings.Repeat("}", 20) + "}]}"), "4: conditions are nested over 16 deep"},
		{service1("  profile: {routes: [{name: a, condition: {method: GET}, isRetryable: true}]}"), "4: isRetryable is not supported"},
		{service1("  profile: {routes: [{name: a, condition: {method: GET}, timeout: 1s}]}"), "4: timeout is not supported"},
		{service1("  profile: {routes: [{name: a, condition: {method: GET}, responseClasses: []}]}"), "4: responseClasses is not supported"},
		{service1("  profile: {overrides: [{authority: a:80}]}"), "4: an override has no weight"},
		{service1("  profile: {overrides: [{weight: 1}]}"), "4: an override has no authority"},
		{service1("  profile: {overrides: [{authority: '10.0.0.1:80', weight: 1}]}"), `4: authority "10.0.0.1:80" is an IP address, not name:port`},
		{service1("  profile: {overrides: [{authority: 'a:0', weight: 1}]}"), `4: authority "a:0": port "0" is not a number`},
		{service1("  profile: {overrides: [{authority: [], weight: 1}]}"), "4: authority is a list"},
		{service1("  profile: {overrides: [{authority: a, weight: 1.5}]}"), "4: weight"},
		{service1("  profile:\n    overrides:\n    - {authority: a, weight: 1}\n    - {authority: 'A:80', weight: 1}"), "7: override a:80 is in line 6 already"},
		{service1("  profile: {overrides: [{authority: a, weight: 4294967295}, {authority: b, weight: 1}]}"), "4: the weights of overrides add up to over 4294967295"},
	} {
		m, err := Parse([]byte(test.text))
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%q: %v, want no error", test.text, err)
		case test.want == "":
		case err == nil || m != nil:
			t.Errorf("%q: no error, want %q", test.text, test.want)
		case !strings.Contains(err.Error(), test.want):
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

func TestEveryMistakeAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mesh.yaml")
	text := service1("  opaque: perhaps\n  endpoints:\n  - address: here\n- name: web\n  port: 99999\n  colour: red\n")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	var mistakes *Mistakes
	if !errors.As(err, &mistakes) {
		t.Fatalf("Load: %v, want Mistakes", err)
	}
	var lines []int
	for _, m := range mistakes.All {
		lines = append(lines, m.Line)
	}
	if !slices.Equal(lines, []int{4, 6, 8, 9}) {
		t.Errorf("mistakes in lines %v:\n%v", lines, err)
	}
	for line := range strings.Lines(err.Error()) {
		if !strings.HasPrefix(line, path+":") {
			t.Errorf("%q does not name the file", line)
		}
	}
	_, err = Parse([]byte("services:\n" + strings.Repeat("- x\n", 80)))
	if n := strings.Count(err.Error(), "\n"); n != maxTold || !strings.HasSuffix(err.Error(), "and 30 more") {
		t.Errorf("80 mistakes are told in %d lines:\n%v", n+1, err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
	good := filepath.Join(dir, "good")
	if err := os.WriteFile(good, []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(good); err != nil {
		t.Error(err)
	}
}

func FuzzMesh(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(emoji))
	f.Add([]byte("services: &s [*s]"))
	f.Add([]byte("services:\n- {name: \"\\xff\", port: 1, endpoints: [{address: '1.1.1.1:1', labels: {a: \"\\uD800\"}}]}"))
	f.Add([]byte("{? !!binary a : b, <<: {}}"))
	f.Add([]byte("%YAML 1.1\n---\n!!set {services}\n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse(data)
		if err != nil {
			if err.Error() == "" || m != nil {
				t.Errorf("a mesh %v with the error %q", m, err)
			}
			return
		}
		for _, s := range m.services {
			messages := []proto.Message{policy(s), undefinedPort(s.host), profileMessage(s)}
			for _, u := range make(said).updates(s.host, s) {
				messages = append(messages, u)
			}
			for e := range s.all() {
				messages = append(messages, m.profileOf(e.addr))
			}
			for _, message := range messages {
				if _, err := proto.Marshal(message); err != nil {
					t.Errorf("%v cannot be sent: %v", message, err)
				}
			}
		}
	})
}

// What the manual shows must work.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../docs/mesh-file.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the manual has no example")
	}
	if n := len(mesh(t, block).Services()); n != 3 {
		t.Errorf("the manual's example has %d services, want 3", n)
	}
}
