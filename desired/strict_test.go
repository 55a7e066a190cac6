package desired

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
)

func TestStrict(t *testing.T) {
	type entry struct {
		Group NameOrNumber `json:"group"`
		Level string       `json:"level"`
	}
	type config struct {
		Unsafe bool    `json:"allowUnsafe,omitempty"`
		Access []entry `json:"access,omitempty"`
		Logs   struct {
			Size  resource.Quantity `json:"maxSize"`
			Files int               `json:"maxFiles"`
		} `json:"logs"`
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "{false [] {1 5}}"},
		{"only comments", "# later\n---\n", "{false [] {1 5}}"},
		{"some of it", "logs: {maxFiles: 3}\n", "{false [] {1 3}}"},
		{"all of it", "allowUnsafe: true\naccess:\n- {group: 4294967294, level: read}\n- {group: adm}\nlogs: {maxSize: 64Ki, maxFiles: 2}\n",
			"{true [{4294967294 read} {adm }] {64Ki 2}}"},
		{"JSON", `{"allowUnsafe": true}`, "{true [] {1 5}}"},
		{"unknown key", "# no\nallowUnsaf: true\n", `c.yaml:2: allowUnsaf: unknown field (did you mean "allowUnsafe"?)`},
		{"unknown keys further in", "access:\n- group: adm\n  levle: read\nlogs:\n  maxfiles: 3\n  colour: red\n",
			`c.yaml:3: access[0].levle: unknown field (did you mean "level"?)
c.yaml:5: logs.maxfiles: unknown field (did you mean "maxFiles"?)
c.yaml:6: logs.colour: unknown field`},
		{"twice", "allowUnsafe: true\nallowUnsafe: false\n", "c.yaml:2: allowUnsafe: duplicate key: it stands on line 1 already"},
		{"wrong types", "allowUnsafe: 1\naccess: {group: adm}\nlogs: {maxSize: much, maxFiles: few}\n",
			`c.yaml:1: allowUnsafe: must be true or false, not the integer 1
c.yaml:2: access: must be a list, not a mapping
c.yaml:3: logs.maxFiles: must be an integer, not the string "few"
c.yaml:3: logs.maxSize: "much" is no quantity: write it in bytes, as 256Mi, 1Gi or 64M`},
		{"wrong values", "logs:\n  maxFiles: 2000\naccess:\n- group: adm\n  level: king\n- {level: read}\n",
			"c.yaml:2: logs.maxFiles: 2000 is too many\nc.yaml:5: access[0].level: no level\nc.yaml:6: access[1].level: no level"},
		{"wrong values beside wrong types", "logs: {maxFiles: few}\naccess:\n- {level: king, group: []}\n- level: [king]\n",
			`c.yaml:1: logs.maxFiles: must be an integer, not the string "few"
c.yaml:3: access[0].group: must be a string, not a list
c.yaml:3: access[0].level: no level
c.yaml:4: access[1].level: must be a string, not a list`},
		{"no mapping", "- a\n", "c.yaml:1: must be a mapping of fields, not a list"},
		{"no YAML", "logs:\n\tmaxFiles: 3\n", "c.yaml:2: not valid YAML: column 1 is a tab, and tabs can't indent: use spaces: found character that cannot start any token"},
		{"two documents", "allowUnsafe: true\n---\nallowUnsafe: false\n", "c.yaml:2: a second document: there is to be one"},
		{"alias cycle", "logs: &l {maxFiles: *l}\n", "c.yaml:1: logs.maxFiles: the alias *l contains itself"},
	} {
		var v config
		v.Logs.Size, v.Logs.Files = resource.MustParse("1"), 5
		check := func(wrong func(string, string, ...any)) {
			if v.Logs.Files > 1000 {
				wrong("logs.maxFiles", "%d is too many", v.Logs.Files)
			}
			for i, e := range v.Access {
				if e.Level == "king" || e.Group == "" {
					wrong(fmt.Sprintf("access[%d].level", i), "no level")
				}
			}
		}
		var lines []string
		for _, p := range Strict("c.yaml", []byte(c.text), &v, check) {
			lines = append(lines, p.String())
		}
		got := strings.Join(lines, "\n")
		if got == "" {
			got = fmt.Sprintf("{%v %v {%s %d}}", v.Unsafe, v.Access, v.Logs.Size.String(), v.Logs.Files)
		}
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
