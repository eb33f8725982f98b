package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/input"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// decodeCmd is `plumbline decode`.
type decodeCmd struct {
	formFlags
	inputFlag
	Files  []string `arg:"" optional:"" name:"file" help:"Files of records; - is standard input. JSON lines, other JSON, a CloudTrail log file, one binary message, each also packed with gzip or zstd."`
	Limit  int      `default:"5" placeholder:"N" help:"Most events that are shown as text; 0 shows all. The summary counts all."`
	Output Output   `enum:"text,json" default:"text" help:"text, or json: one object for each event."`
}

// formFlags name a form of records.
type formFlags struct {
	As     string `placeholder:"FORM" help:"Form of the records, with its default options: see docs/sources.md."`
	Source string `placeholder:"NAME" help:"Take the form and its options from this source in the config."`
}

// form is a decoder, and how its records are read.
type form struct {
	decode.Decoder
	options input.Options
}

// maxDocument bounds a record of a form that others chose, of which one can be a whole
// log file. Our own stand in lines, which are no longer than Kafka takes.
const maxDocument = 256 << 20

// newForm returns the form of that name with the options of a source.
func newForm(name string, options map[string]any) (form, error) {
	d, err := forms.New(name, options)
	f := form{Decoder: d, options: input.Options{MaxRecord: maxDocument}}
	if name == activityForm {
		f.options.MaxRecord = kafka.MaxRecordBytes
	}
	f.options.Binary = slices.ContainsFunc(forms.All(), func(known forms.Form) bool { return known.Name == name && known.Binary })
	return f, err
}

const activityForm = "activity"

// form returns the form that the flags name; activity where they name none.
func (f *formFlags) form(cfg *config.Config) (form, error) {
	name, options := f.As, map[string]any(nil)
	switch {
	case f.As != "" && f.Source != "":
		return form{}, usageError{errors.New("--as and --source can't both name the form")}
	case f.Source != "":
		i := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.Name == f.Source })
		if i < 0 {
			return form{}, usageError{fmt.Errorf("--source: the config has no source %q", f.Source)}
		}
		name, options = cfg.Sources[i].Decoder, cfg.Sources[i].Options
	case f.As == "":
		name = activityForm
	}
	d, err := newForm(name, options)
	if unknown := (*forms.UnknownError)(nil); errors.As(err, &unknown) {
		var names []string
		for _, form := range forms.All() {
			names = append(names, form.Name)
		}
		return form{}, usageError{fmt.Errorf("--as: %w; the forms are %s", err, strings.Join(names, ", "))}
	}
	if err != nil {
		return form{}, usageError{fmt.Errorf("%w; write the options into a source of the config and name it with --source", err)}
	}
	return d, nil
}

// Help is the long help.
func (c *decodeCmd) Help() string {
	return `Shows what records become before a source is connected: every field with the place in the record that it came from, what was kept as an attribute, what was cut or flagged, what was refused and why.

` + inputHelp + ` The exit code is 1 where anything was refused, too.

Examples:
  plumbline decode --as cloudtrail 123456789012_CloudTrail_us-east-1.json.gz
  plumbline decode --config plumbline.yaml --source gateway sample.jsonl --output json`
}

// Run decodes.
func (c *decodeCmd) Run(ctx context.Context, g *Globals) (err error) {
	files, err := c.or(c.Files)
	if err != nil {
		return err
	}
	cfg, err := g.Load()
	if err != nil {
		return err
	}
	f, err := c.form(cfg)
	if err != nil {
		return err
	}
	in, err := openInputs(files, g.Stdin)
	if err != nil {
		return usageError{err}
	}
	shown := &visible{w: g.Stdout}
	defer shown.flush()
	out := bufio.NewWriter(shown)
	defer func() { err = errors.Join(err, out.Flush()) }()
	t := newTally(f, newConsole(g.Stderr).line)
	t.next = "--as names another form, --source one of the config"
	s := newShower(f, t, out, c)
	for _, file := range in.names {
		err = in.one(ctx, file, f.options, t, func(rec input.Record) error {
			s.record(rec)
			return s.err
		})
		if err != nil {
			break
		}
	}
	if s.records > 0 || err == nil {
		s.summary(g.Stderr)
	}
	if err == nil && s.refused > 0 {
		return errSilent
	}
	return err
}

// shower prints what records become.
type shower struct {
	form  form
	d     decode.Decoder // of it
	out   *bufio.Writer
	asOne bool // an object a line
	limit int64
	err   error

	from    map[string][]string // where the fields of the next event came from
	records int64
	events  int64
	refused int64
	skipped int64
	passed  map[string]*passedOver // by shape
	reasons map[string]int64
	filled  map[string]int64
	flags   map[string]int64
}

func newShower(f form, d decode.Decoder, out *bufio.Writer, c *decodeCmd) *shower {
	s := &shower{
		form: f, d: d, out: out, asOne: c.Output == OutputJSON, limit: int64(c.Limit), from: make(map[string][]string),
		passed: make(map[string]*passedOver), reasons: make(map[string]int64), filled: make(map[string]int64), flags: make(map[string]int64),
	}
	if t, ok := f.Decoder.(decode.Tracer); ok {
		t.Trace(func(field, path string) { s.from[field] = append(s.from[field], path) })
	}
	return s
}

// shown is an event as --output json prints it.
type shown struct {
	Record  int64               `json:"record"`
	Line    int64               `json:"line"` // that the record begins on
	Index   int32               `json:"index"`
	Event   json.RawMessage     `json:"event,omitempty"`
	From    map[string][]string `json:"from,omitempty"`
	Refused *shownRefusal       `json:"refused,omitempty"`
}

type shownRefusal struct {
	Reason string `json:"reason"`
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail,omitempty"`
}

func (s *shower) record(r input.Record) {
	s.records++
	if r.TooLong {
		s.show(r.Line, 0, nil, &decode.Refusal{Reason: decode.ReasonTooLarge, Detail: fmt.Sprintf("%d bytes, at most %d", r.Size, s.form.options.MaxRecord)})
		return
	}
	rec := decode.Record{Topic: "decode", Offset: s.records, Value: r.Data}
	s.d.Decode(&rec, func(index int32, ev *schemas.Activity, refusal *decode.Refusal) { s.show(r.Line, index, ev, refusal) })
	decode.Passed(s.form.Decoder, func(shape decode.Shape, n int, sample string) {
		s.skipped += int64(n)
		p := s.passed[shape.Name]
		if p == nil {
			p = &passedOver{needs: shape.Needs, sample: sample}
			s.passed[shape.Name] = p
		}
		p.n += int64(n)
	})
}

// passedOver is what entries of a shape came to.
type passedOver struct {
	n             int64
	needs, sample string
}

// show shows one event or refusal of the record that begins on line.
func (s *shower) show(line int64, index int32, ev *schemas.Activity, refusal *decode.Refusal) {
	one := shown{Record: s.records, Line: line, Index: index, From: s.from}
	if refusal != nil {
		s.refused++
		s.reasons[string(refusal.Reason)]++
		one.Refused, one.From = &shownRefusal{string(refusal.Reason), refusal.Field, refusal.Detail}, nil
	} else {
		s.events++
		if one.Event = schemas.AppendActivity(nil, ev); ev.Registration != nil {
			one.Event = schemas.AppendRegistration(nil, ev.Registration)
		}
	}
	s.print(&one)
	clear(s.from)
}

func (s *shower) print(one *shown) {
	fields := membersOf(one.Event)
	for _, f := range fields {
		s.filled[f.name]++
		if f.name == "flags" {
			var names []string
			_ = json.Unmarshal(f.value, &names) // it was written a moment ago
			for _, name := range names {
				name, _, _ = strings.Cut(name, ":")
				s.flags[name]++
			}
		}
	}
	switch {
	case s.asOne:
		if err := json.NewEncoder(s.out).Encode(one); err != nil && s.err == nil {
			s.err = fmt.Errorf("print an event: %w", err)
		}
	case s.limit == 0 || s.events+s.refused <= s.limit:
		s.text(one, fields)
	}
}

func (s *shower) text(one *shown, fields []member) {
	fmt.Fprintf(s.out, "record %d, event %d\n", one.Record, one.Index)
	if r := one.Refused; r != nil {
		fmt.Fprintf(s.out, "  refused: %s %s\n", r.Reason, printable(strings.TrimSpace(r.Field+" "+r.Detail)))
		return
	}
	for _, f := range fields {
		if f.name == "attributes" {
			fmt.Fprintln(s.out, "  attributes")
			for _, a := range membersOf(f.value) {
				fmt.Fprintf(s.out, "    %s = %s\n", printable(a.name), a.text())
			}
			continue
		}
		line := fmt.Sprintf("  %-18s %s", f.name, f.text())
		if from := s.from[f.name]; len(from) > 0 {
			line += "   <- " + printable(strings.Join(from, ", "))
		}
		fmt.Fprintln(s.out, line)
	}
}

// summary says what all records came to.
func (s *shower) summary(w io.Writer) {
	fmt.Fprintf(w, "%d records: %d events, %d refused, %d passed over\n", s.records, s.events, s.refused, s.skipped)
	for _, name := range slices.Sorted(maps.Keys(s.passed)) {
		p := s.passed[name]
		like := ""
		if p.sample != "" {
			like = " (" + printable(p.sample) + ")"
		}
		fmt.Fprintf(w, "passed over: %d, looks like %s%s, which needs %s\n", p.n, name, like, p.needs)
	}
	counts := func(what string, of map[string]int64) {
		if len(of) == 0 {
			return
		}
		var parts []string
		for name, n := range of {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
		slices.Sort(parts)
		fmt.Fprintf(w, "%s: %s\n", what, strings.Join(parts, ", "))
	}
	counts("refused", s.reasons)
	counts("flags", s.flags)
	counts("fields filled", s.filled)
	if s.events > s.filled["record"] { // some are no registrations
		var never []string
		for _, name := range []string{"event_id", "time", "session_id", "tool", "access", "resources", "bytes_sent", "bytes_received", "credential_id", "source_ip"} {
			if s.filled[name] == 0 {
				never = append(never, name)
			}
		}
		if len(never) > 0 {
			fmt.Fprintf(w, "never filled: %s\n", strings.Join(never, ", "))
		}
	}
}

// member is one name and value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of an object that we wrote, in its order.
func membersOf(object []byte) []member {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil
	}
	var out []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return out
		}
		m := member{name: fmt.Sprint(name)}
		if d.Decode(&m.value) != nil {
			return out
		}
		out = append(out, m)
	}
	return out
}

// text is the value for people.
func (m member) text() string {
	var s string
	if json.Unmarshal(m.value, &s) == nil {
		return printable(s)
	}
	return printable(string(m.value))
}

// printable is s on one line of a terminal, whatever is in it, and not too long.
func printable(s string) string {
	const most = 200
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		s = strconv.Quote(s)
	}
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}
