package main

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

// chart is a picture with two axes, as SVG. gonum/plot was tried: no shorter, with wider
// margins, a dozen modules, and labels that are harder to read.
type chart struct {
	title, x, y    string
	xLog, yLog     bool
	xLow, xHigh    float64
	yLow, yHigh    float64
	xTicks, yTicks []tick
	body, legend   strings.Builder
	legendEnd      int
}

type tick struct {
	at   float64
	text string
}

const (
	chartWidth, chartHeight  = 720, 400
	chartLeft, chartRight    = 64, 20
	chartTop, chartBottom    = 44, 52
	chartInk, chartGrid      = "#333333", "#dddddd"
	chartBlue, chartOrange   = "#2166ac", "#d6604d"
	chartGrey, chartBandBlue = "#888888", "#c6dbef"
)

func (c *chart) px(x float64) float64 {
	return chartLeft + part(x, c.xLow, c.xHigh, c.xLog)*(chartWidth-chartLeft-chartRight)
}

func (c *chart) py(y float64) float64 {
	return chartHeight - chartBottom - part(y, c.yLow, c.yHigh, c.yLog)*(chartHeight-chartTop-chartBottom)
}

func part(v, low, high float64, log bool) float64 {
	if log {
		v, low, high = math.Log(math.Max(v, low)), math.Log(low), math.Log(high)
	}
	return math.Min(math.Max((v-low)/(high-low), 0), 1)
}

type point struct{ x, y float64 }

func (c *chart) line(color, dash string, points []point) {
	c.body.WriteString(`<polyline fill="none" stroke-width="2" stroke="` + color + `" stroke-dasharray="` + dash + `" points="`)
	for _, p := range points {
		fmt.Fprintf(&c.body, "%.1f,%.1f ", c.px(p.x), c.py(p.y))
	}
	c.body.WriteString("\"/>\n")
}

func (c *chart) dots(color string, radius float64, points []point) {
	for _, p := range points {
		fmt.Fprintf(&c.body, `<circle cx="%.1f" cy="%.1f" r="%g" fill="%s"/>`+"\n", c.px(p.x), c.py(p.y), radius, color)
	}
}

// curve draws points with a line through them, and says what they are.
func (c *chart) curve(color, text string, points []point) {
	c.line(color, "", points)
	c.dots(color, 4, points)
	c.explain(color, text)
}

// steps are about four round numbers from 0 to high.
func steps(high float64) (out []tick) {
	unit := math.Pow(10, math.Floor(math.Log10(high/4)))
	for _, f := range []float64{1, 2, 5, 10} {
		if high/(f*unit) <= 5 {
			unit *= f
			break
		}
	}
	for v := 0.0; v <= high; v += unit {
		out = append(out, tick{v, fmt.Sprint(v)})
	}
	return out
}

// band fills the space between 0 and the points, as steps.
func (c *chart) band(color string, width float64, points []point) {
	for _, p := range points {
		fmt.Fprintf(&c.body, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
			c.px(p.x), c.py(p.y), c.px(p.x+width)-c.px(p.x), c.py(c.yLow)-c.py(p.y), color)
	}
}

func (c *chart) mark(color string, x float64) {
	fmt.Fprintf(&c.body, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-width="1.5" stroke-dasharray="3 3"/>`+"\n",
		c.px(x), c.px(x), chartTop, chartHeight-chartBottom, color)
}

func (c *chart) explain(color, text string) {
	x := chartLeft + 10 + c.legendEnd
	fmt.Fprintf(&c.legend, `<rect x="%d" y="26" width="12" height="8" fill="%s"/><text x="%d" y="34">%s</text>`+"\n", x, color, x+16, html.EscapeString(text))
	c.legendEnd += 36 + 7*len(text)
}

// save writes the picture.
func (c *chart) save(dir, name string) error { return bench.Save(dir, name, []byte(c.svg())) }

// svg returns the picture.
func (c *chart) svg() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="%s">`+"\n", chartWidth, chartHeight, chartInk)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/><text x="%d" y="18" font-size="14" font-weight="bold">%s</text>`+"\n", chartWidth, chartHeight, chartLeft, html.EscapeString(c.title))
	for _, t := range c.yTicks {
		y := c.py(t.at)
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="%s"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			chartLeft, chartWidth-chartRight, y, y, chartGrid, chartLeft-6, y+4, t.text)
	}
	for _, t := range c.xTicks {
		x := c.px(t.at)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, x, chartTop, chartHeight-chartBottom, chartGrid, x, chartHeight-chartBottom+18, t.text)
	}
	b.WriteString(c.body.String())
	b.WriteString(c.legend.String())
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (chartLeft+chartWidth-chartRight)/2, chartHeight-12, html.EscapeString(c.x))
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n</svg>\n", (chartTop+chartHeight-chartBottom)/2, html.EscapeString(c.y))
	return b.String()
}
