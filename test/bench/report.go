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
	// Against is what stands beside it: bare runsc, or what Figure names.
	Against *series `json:"against,omitempty"`
	// Ratio, or else Excess, is that of the medians, where it is of interest.
	Ratio  float64  `json:"ratio,omitempty"`
	Excess *float64 `json:"excess,omitempty"`
	// Target is the most that Ratio or Excess, or without them the median, may
	// be; 0: there is none.
	Target float64 `json:"target,omitempty"`
	// Least says that Target is the least instead.
	Least bool `json:"least,omitempty"`
	Met   bool `json:"met"`
}

// report is what is printed and written.
type report struct {
	Machine machine  `json:"machine"`
	Results []result `json:"results"`
}

// compare adds a row of times in ms whose target is a ratio.
func (r *report) compare(row int, figure string, samples [2][]float64, target float64) {
	r.compareIn("ms", row, figure, samples, target)
}

// compareIn is compare in another unit; target may be 0.
func (r *report) compareIn(unit string, row int, figure string, samples [2][]float64, target float64) {
	x := newResult(row, figure, unit, samples[0], samples[1], target)
	x.Ratio = x.Ours.Median / x.Against.Median
	x.Met = target == 0 || x.Ratio <= target
	r.Results = append(r.Results, x)
}

// within is compareIn, where the target is also met if the two differ by no more
// than the samples of what stands beside do among themselves.
func (r *report) within(unit string, row int, figure string, samples [2][]float64, target float64) {
	r.compareIn(unit, row, figure, samples, target)
	x := &r.Results[len(r.Results)-1]
	x.Met = x.Met || x.Ours.Median <= target*x.Against.P90
}

// atLeast is within for what is better the more there is of it.
func (r *report) atLeast(unit string, row int, figure string, samples [2][]float64, target float64) {
	r.compareIn(unit, row, figure, samples, target)
	x := &r.Results[len(r.Results)-1]
	x.Least = true
	x.Met = x.Ours.Median >= target*x.Against.P10
}

// exceed adds a row whose target is by how much its median may be over that of
// what stands beside it.
func (r *report) exceed(row int, figure, unit string, samples [2][]float64, target float64) {
	x := newResult(row, figure, unit, samples[0], samples[1], target)
	x.Excess = new(x.Ours.Median - x.Against.Median)
	x.Met = *x.Excess <= target
	r.Results = append(r.Results, x)
}

// limit adds a row whose target is absolute; against is for information.
func (r *report) limit(row int, figure, unit string, ours, against []float64, target float64) {
	x := newResult(row, figure, unit, ours, against, target)
	x.Met = target == 0 || x.Ours.Median <= target
	r.Results = append(r.Results, x)
}

func newResult(row int, figure, unit string, ours, against []float64, target float64) result {
	return result{Row: row, Figure: figure, Unit: unit, Ours: summarize(ours), Against: summarize(against), Target: target}
}

// met reports whether every target was.
func (r *report) met() bool {
	return !slices.ContainsFunc(r.Results, func(r result) bool { return !r.Met })
}

// markdown is the table, as it can go into a document.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. Medians; in parentheses the 10th to 90th percentile, the most, and the number of samples.", r.Machine)
	if rows := r.absolute(); rows != "" {
		fmt.Fprintf(&b, " A target is a ratio, or what may come on top of the other column, but in rows with nothing of bare runsc's to set beside them, which are absolute: %s.", rows)
	}
	b.WriteString("\n\n")
	b.WriteString("| # | figure | sandboxer | bare runsc, or as said | ratio or excess | target | |\n|---|---|---|---|---|---|---|\n")
	for _, x := range r.Results {
		relation, unit := "", x.Unit
		switch {
		case x.Ratio > 0:
			relation, unit = fmt.Sprintf("%.2f ×", x.Ratio), "×"
		case x.Excess != nil:
			relation, unit = fmt.Sprintf("%+.2f %s", *x.Excess, x.Unit), x.Unit+" more"
		}
		target, mark := "", ""
		if x.Target > 0 {
			target = map[bool]string{false: "≤ ", true: "≥ "}[x.Least] + strconv.FormatFloat(x.Target, 'f', -1, 64) + " " + unit
			mark = map[bool]string{true: "✓", false: "✗"}[x.Met]
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", x.Row, x.Figure, x.Ours.text(x.Unit), x.Against.text(x.Unit), relation, target, mark)
	}
	return b.String()
}

// absolute lists the rows that have a target and no ratio.
func (r *report) absolute() string {
	var rows []string
	for _, x := range r.Results {
		row := strconv.Itoa(x.Row)
		if x.Target > 0 && x.Ratio == 0 && x.Excess == nil && !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	return strings.Join(rows, ", ")
}

// text is a summary in a table's cell.
func (s *series) text(unit string) string {
	if s == nil {
		return ""
	}
	text := number(s.Median) + " " + unit
	if n := len(s.Samples); n > 1 {
		text += fmt.Sprintf(" (%s–%s, max %s; %d)", number(s.P10), number(s.P90), number(s.Max), n)
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
