package detector_test

import "github.com/plumbline-sec/plumbline/schemas"

// recorder is a sink that keeps everything.
type recorder struct {
	alerts  []*schemas.Alert
	windows []*schemas.Window
}

func (r *recorder) Alert(a *schemas.Alert)   { r.alerts = append(r.alerts, a) }
func (r *recorder) Window(w *schemas.Window) { r.windows = append(r.windows, w) }
