package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// asProgram has the test's binary be the program, for tests that need it as a
// process. It is then built as the test is: with the race detector, if that is on.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestExecute(t *testing.T) {
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := file("mesh.yaml", "services:\n- name: web\n  port: 0\n")
	plain := file("plain.yaml", "services: []\n")
	astray := file("astray.yaml", "services: []\nidentity: {directory: made, tokens: nowhere.yaml}\n")
	meshed := file("meshed.yaml", "services: []\nidentity: {directory: made, tokens: "+file("tokens.yaml", "web.demo: secret\n")+"}\n")
	for _, test := range []struct {
		args      []string
		status    int
		out, errs string // what must be in them
	}{
		{[]string{"--help"}, 0, "outrigger demo", ""},
		{[]string{"proxy", "--help"}, 0, "LINKERD2_PROXY_DESTINATION_SVC_ADDR", ""},
		{[]string{"control", "--help"}, 0, "docs/mesh-file.md", ""},
		{[]string{"demo", "--help"}, 0, "--once", ""},
		{[]string{"proxy", "--settings"}, 0, "OUTRIGGER_UNMESHED", ""},
		{[]string{"version"}, 0, "outrigger ", ""},
		{[]string{"completion", "bash"}, 0, "outrigger", ""},
		{nil, 64, "", "LINKERD2_PROXY_DESTINATION_SVC_ADDR"}, // an empty argv is the sidecar
		{[]string{"proxy"}, 64, "", "LINKERD2_PROXY_DESTINATION_SVC_ADDR"},
		{[]string{"nosuch"}, 64, "", `unknown command "nosuch"`},
		{[]string{"--nosuch"}, 64, "", "--nosuch"},
		{[]string{"demo", "nosuch"}, 64, "", "nosuch"},
		{[]string{"proxy", "--nosuch"}, 64, "", "--nosuch"},
		{[]string{"control"}, 64, "", "--file"},
		{[]string{"control", "--file", bad}, 64, "", "mesh.yaml:3: "},
		{[]string{"control", "--file", bad + "x"}, 64, "", "no such file"},
		{[]string{"control", "--file", astray}, 64, "", "no such file"},
		{[]string{"control", "anchors"}, 64, "", "--file"},
		{[]string{"control", "anchors", "--file", bad}, 64, "", "mesh.yaml:3: "},
		{[]string{"control", "anchors", "--file", plain}, 64, "", "no identity section"},
		{[]string{"control", "anchors", "--file", meshed}, 0, "-----BEGIN CERTIFICATE-----", ""},
	} {
		t.Run(fmt.Sprint(test.args), func(t *testing.T) {
			var out, errs bytes.Buffer
			if got := execute(t.Context(), test.args, &out, &errs); got != test.status {
				t.Errorf("exit status %d, want %d: %s", got, test.status, errs.String())
			}
			if !strings.Contains(out.String(), test.out) || !strings.Contains(errs.String(), test.errs) {
				t.Errorf("got %q and %q, want %q and %q in them", out.String(), errs.String(), test.out, test.errs)
			}
			if test.status == 0 && errs.Len() > 0 {
				t.Errorf("a success that complains: %q", errs.String())
			}
		})
	}
}

// TestHidden sees that help shows what is for people, and only that.
func TestHidden(t *testing.T) {
	var out bytes.Buffer
	execute(t.Context(), []string{"--help"}, &out, &out)
	if strings.Contains(out.String(), "demo-app") {
		t.Errorf("help shows the demonstration's application:\n%s", out.String())
	}
}
