package readiness

import (
	_ "embed"
	"html/template"
	"io"
)

// page needs nothing beside itself; html/template escapes what it is given.
//
//go:embed report.html
var page string

// HTML writes the report as one page.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, r)
}
