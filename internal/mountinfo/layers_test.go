package mountinfo

import (
	"slices"
	"testing"
)

// Each option as the kernel writes it.
func TestLayers(t *testing.T) {
	for options, want := range map[string]struct {
		upper, all []string
		partly     bool // there are others, or may be
		unsure     string
	}{
		"rw,lowerdir=/a:/b,upperdir=/u,workdir=/w": {upper: []string{"/u"}, all: []string{"/a", "/b", "/u"}},
		`rw,lowerdir=/a::/data`:                    {all: []string{"/a", "/data"}},
		// Escapes of the one who has mounted it.
		`rw,lowerdir=/lo\134:w:/b`:    {all: []string{"/lo:w", "/b"}},
		`rw,lowerdir=/lo\134\054w:/b`: {all: []string{"/lo,w", "/b"}},
		// Linux 6.5 and 6.6.
		`rw,lowerdir=/lo\072w:/b\054c`: {all: []string{"/lo:w", "/b,c"}},
		// One for each.
		`rw,lowerdir+=/lo:w,lowerdir+=/lo\054w,datadir+=/d\134:\040x`: {all: []string{"/lo:w", "/lo,w", `/d\: x`}},
		// Given by fsconfig.
		`rw,lowerdir=/a,upperdir=/up\054c,workdir=/w`: {upper: []string{"/up,c"}, all: []string{"/a", "/up,c"}},
		`rw,lowerdir=/a,upperdir=/up:c`:               {upper: []string{"/up:c"}, all: []string{"/a", "/up:c"}},
		`rw,lowerdir=/a,upperdir=/x\054upperdir=/y`:   {upper: []string{"/x,upperdir=/y"}, all: []string{"/a", "/x,upperdir=/y"}},
		// By a string, or by a descriptor.
		`rw,lowerdir=/a,upperdir=/up\134\054c`: {
			upper: []string{`/up\,c`, "/up,c"}, all: []string{"/a", `/up\,c`, "/up,c"}, partly: true, unsure: `upperdir=/up\134\054c`,
		},
		`rw,lowerdir=/a\134\134:/b`:      {all: []string{`/a\`, "/b", `/a\\`, "/b"}, partly: true, unsure: `lowerdir=/a\134\134:/b`},
		`rw,lowerdir=/a\134b\072c`:       {all: []string{"/ab", `/a\b:c`}, partly: true, unsure: `lowerdir=/a\134b\072c`},
		"rw,lowerdir=a:/b":               {all: []string{"/b"}, partly: true},
		"rw,lowerdir=/proc/self/fd/3":    {partly: true},
		"rw,lowerdir+=/dev/fd/3,xino=on": {partly: true},
	} {
		m := Mount{Options: options}
		upper, _ := m.Layers(true)
		all, isAll := m.Layers(false)
		if !slices.Equal(upper, want.upper) || !slices.Equal(all, want.all) || isAll == want.partly || m.Unsure() != want.unsure {
			t.Errorf("%s: upper %q, all %q, %t, unsure %q", options, upper, all, isAll, m.Unsure())
		}
	}
}
