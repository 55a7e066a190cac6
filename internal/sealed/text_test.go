package sealed

import (
	"encoding/json"
	"testing"
)

// Whatever bytes there are come back, and what is UTF-8 is written and read as ever.
func TestText(t *testing.T) {
	for _, s := range []string{"", "/a b", "/bad\xff/in", "/\xed\xa0\x80", "\xff\xfe", "/\ufffd", "\x00", "\x00ff", "<&>\u2028\n"} {
		b, err := json.Marshal(Text(s))
		var got Text
		if err == nil {
			err = json.Unmarshal(b, &got)
		}
		if err != nil || string(got) != s {
			t.Errorf("%q came back as %q, written as %s: %v", s, got, b, err)
		}
	}
	plain, err := json.Marshal("/a\u00e9 b")
	written, err2 := json.Marshal(Text("/a\u00e9 b"))
	if err != nil || err2 != nil || string(plain) != string(written) {
		t.Errorf("%s is written as %s", plain, written)
	}
	var got Text
	if err := json.Unmarshal([]byte(`"\u0000zz"`), &got); err == nil {
		t.Errorf("what nobody writes is read as %q", got)
	}
}
