package main

import (
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"sandboxer/internal/api"
)

// The manual's table has every command, called as its help says, and the manual
// each flag of it.
func TestManualHasAllCommands(t *testing.T) {
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(b)
	_, table, _ := strings.Cut(manual, "\n## Commands\n")
	table = strings.ReplaceAll(strings.ReplaceAll(table[:strings.Index(table, "\n## ")], `\|`, "|"), "…", "...")
	for _, cmd := range (&cli{stdout: io.Discard, stderr: io.Discard}).root().Commands() {
		use := cmd.Use
		switch cmd.Name() {
		case "help":
			continue
		case "exec": // what the manual says of --, and of flags, comes in another order
			use = "exec NAME[/CONTAINER] "
		case "completion":
			use = "completion bash|zsh|fish|powershell"
		}
		if !strings.Contains(table, "\n| `"+use) {
			t.Errorf("docs/cli.md does not have %q in its table", use)
		}
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			long := regexp.MustCompile(`--` + regexp.QuoteMeta(f.Name) + `\b`)
			short := regexp.MustCompile("[`|\\[]-" + f.Shorthand + `[\]|` + "`" + ` ]`)
			if !long.MatchString(manual) && !(f.Shorthand != "" && short.MatchString(manual)) {
				t.Errorf("docs/cli.md does not have --%s of %s", f.Name, cmd.Name())
			}
		})
	}
}

// The manual knows every field of what get prints.
func TestManualHasAllFields(t *testing.T) {
	b, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	_, manual, _ := strings.Cut(string(b), "\n## JSON\n")
	for _, of := range []reflect.Type{reflect.TypeFor[api.Sandbox](), reflect.TypeFor[api.Status](), reflect.TypeFor[api.Condition](),
		reflect.TypeFor[api.Container](), reflect.TypeFor[api.Exit](), reflect.TypeFor[api.Plan](), reflect.TypeFor[api.Action]()} {
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !strings.Contains(manual, "`"+name+"`") && !strings.Contains(manual, `"`+name+`"`) {
				t.Errorf("docs/cli.md does not have %s of %s", name, of.Name())
			}
		}
	}
}
