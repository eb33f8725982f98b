package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

var (
	blue   = color.RGBA{0x21, 0x66, 0xac, 0xff}
	orange = color.RGBA{0xd6, 0x60, 0x4d, 0xff}
	grey   = color.RGBA{0x88, 0x88, 0x88, 0xff}
	pale   = color.RGBA{0xc6, 0xdb, 0xef, 0xff}
	dashed = []vg.Length{vg.Points(4), vg.Points(4)}
)

// picture is a plot with two axes and a legend.
type picture struct{ *plot.Plot }

// newPicture takes the ends of the axes; both are logarithmic where they begin above 0.
func newPicture(title string, x, y plot.Axis) picture {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = title
	for _, a := range []struct{ to, from *plot.Axis }{{&p.X, &x}, {&p.Y, &y}} {
		a.to.Label.Text, a.to.Min, a.to.Max = a.from.Label.Text, a.from.Min, a.from.Max
		if a.to.Min > 0 {
			a.to.Scale, a.to.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
	}
	p.Add(plotter.NewGrid())
	p.Legend.Top, p.Legend.Left = true, true
	return picture{p}
}

func axis(label string, low, high float64) plot.Axis {
	a := plot.Axis{Min: low, Max: high}
	a.Label.Text = label
	return a
}

// within keeps points in the picture: a logarithm has no place for 0.
func (p picture) within(points plotter.XYs) plotter.XYs {
	out := make(plotter.XYs, len(points))
	for i, q := range points {
		out[i].X = math.Min(math.Max(q.X, p.X.Min), p.X.Max)
		out[i].Y = math.Min(math.Max(q.Y, p.Y.Min), p.Y.Max)
	}
	return out
}

// line draws a line through points; without a name it is not in the legend.
func (p picture) line(name string, c color.Color, dashes []vg.Length, points plotter.XYs) {
	l := &plotter.Line{XYs: p.within(points), LineStyle: draw.LineStyle{Color: c, Width: vg.Points(1.5), Dashes: dashes}}
	p.Add(l)
	if name != "" {
		p.Legend.Add(name, l)
	}
}

func (p picture) dots(name string, c color.Color, radius vg.Length, points plotter.XYs) {
	s := &plotter.Scatter{XYs: p.within(points), GlyphStyle: draw.GlyphStyle{Color: c, Radius: radius, Shape: draw.CircleGlyph{}}}
	p.Add(s)
	if name != "" {
		p.Legend.Add(name, s)
	}
}

// curve draws points with a line through them.
func (p picture) curve(name string, c color.Color, points plotter.XYs) {
	p.line(name, c, nil, points)
	p.dots("", c, vg.Points(3), points)
}

// band fills the space between 0 and the points, as steps.
func (p picture) band(name string, width float64, points plotter.XYs) {
	h := &plotter.Histogram{FillColor: pale}
	for _, q := range p.within(points) {
		h.Bins = append(h.Bins, plotter.HistogramBin{Min: q.X, Max: q.X + width, Weight: q.Y})
	}
	p.Add(h)
	p.Legend.Add(name, h)
}

// save writes the picture as SVG.
func (p picture) save(dir, name string) error {
	w, err := p.WriterTo(7.2*vg.Inch, 4*vg.Inch, "svg")
	if err != nil {
		return fmt.Errorf("draw %s: %w", name, err)
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return fmt.Errorf("draw %s: %w", name, err)
	}
	return bench.Save(dir, name, b.Bytes())
}
