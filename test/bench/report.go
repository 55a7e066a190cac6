package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// result is one line of the table.
type result struct {
	Row    int     `json:"row"`
	Figure string  `json:"figure"`
	Unit   string  `json:"unit"`
	Ours   *series `json:"sandboxer"`
	Bare   *series `json:"runsc,omitempty"`
	// Ratio is that of the medians, where the target is one.
	Ratio float64 `json:"ratio,omitempty"`
	// Target is the most that Ratio, or without one the median, may be; 0:
	// there is none.
	Target float64 `json:"target,omitempty"`
	Met    bool    `json:"met"`
}

// report is what is printed and written.
type report struct {
	Machine machine  `json:"machine"`
	Results []result `json:"results"`
}

// compare adds a row of times in ms whose target is a ratio.
func (r *report) compare(row int, figure string, samples [2][]float64, target float64) {
	ours, bare := summarize(samples[0]), summarize(samples[1])
	ratio := ours.Median / bare.Median
	r.Results = append(r.Results, result{
		Row: row, Figure: figure, Unit: "ms", Ours: ours, Bare: bare,
		Ratio: ratio, Target: target, Met: ratio <= target,
	})
}

// limit adds a row whose target is absolute; bare is for information.
func (r *report) limit(row int, figure, unit string, ours, bare []float64, target float64) {
	s := summarize(ours)
	r.Results = append(r.Results, result{
		Row: row, Figure: figure, Unit: unit, Ours: s, Bare: summarize(bare),
		Target: target, Met: target == 0 || s.Median <= target,
	})
}

// met reports whether every target was.
func (r *report) met() bool {
	return !slices.ContainsFunc(r.Results, func(r result) bool { return !r.Met })
}

// markdown is the table, as it can go into a document.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. Medians; in parentheses the 10th to 90th percentile and the number of samples.\n\n", r.Machine)
	b.WriteString("| # | figure | sandboxer | bare runsc | ratio | target | |\n|---|---|---|---|---|---|---|\n")
	for _, x := range r.Results {
		ratio, target, mark := "", "", ""
		if x.Ratio > 0 {
			ratio = fmt.Sprintf("%.2f ×", x.Ratio)
		}
		if x.Target > 0 {
			target = "≤ " + strconv.FormatFloat(x.Target, 'f', -1, 64) + " "
			if x.Ratio > 0 {
				target += "×"
			} else {
				target += x.Unit
			}
			mark = map[bool]string{true: "✓", false: "✗"}[x.Met]
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", x.Row, x.Figure, x.Ours.text(x.Unit), x.Bare.text(x.Unit), ratio, target, mark)
	}
	return b.String()
}

// text is a summary in a table's cell.
func (s *series) text(unit string) string {
	if s == nil {
		return ""
	}
	text := number(s.Median) + " " + unit
	if n := len(s.Samples); n > 1 {
		text += fmt.Sprintf(" (%s–%s, %d)", number(s.P10), number(s.P90), n)
	}
	return text
}

// number has three digits that count.
func number(f float64) string {
	switch {
	case f >= 100:
		return fmt.Sprintf("%.0f", f)
	case f >= 10:
		return fmt.Sprintf("%.1f", f)
	case f >= 1:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.3f", f)
}

// write writes everything as JSON.
func (r *report) write(path string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}
