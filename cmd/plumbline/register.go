package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // whatever the machine has: a zone is known or not

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/input"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// registerCmd is `plumbline register`.
type registerCmd struct {
	Files  []string `arg:"" optional:"" name:"file" help:"Files of registrations, JSON or CSV (named .csv); - is standard input."`
	Source string   `placeholder:"NAME" help:"Read the files as this source in the config reads its records: an inventory's export, by paths."`
	Topic  string   `placeholder:"TOPIC" help:"Topic to send to. Without it that of the first source in the config whose decoder is registration, without options."`
	Check  bool     `help:"Only say what is wrong: send nothing, and need no Kafka."`
	inputFlag
	serviceDir
	Output Output `enum:"text,json" default:"text" help:"Form of the summary: text or json."`
}

// Help is the long help.
func (c *registerCmd) Help() string {
	return `Says who agents are: owner, contact, status, versions, credentials, grants. Fields and their meaning: docs/identity.md.

All files are read and held against the contract before anything is sent. Where a registration has a mistake, its file, line and field are named and nothing is sent; the exit code is then 1. What is sent twice changes nothing.

In CSV the first line names the fields; lists (versions, tools, destinations, agents, credentials by id) have ; between their elements; an empty cell says nothing; a column that is no field becomes a label.

` + inputHelp + `

Examples:
  plumbline register --check agents.csv
  plumbline register agents.jsonl
  plumbline register --config deploy/sources/entra-agents.yaml --source entra-agents export.json`
}

const registrationForm = "registration"

// registerSummary is the result of `register`.
type registerSummary struct {
	Registrations int     `json:"registrations"`
	Agents        int     `json:"agents"`
	NoOwner       int     `json:"no_owner"` // agents whose last registration names none
	Refused       int64   `json:"refused"`
	Sent          int64   `json:"sent"`
	Topic         string  `json:"topic,omitempty"`
	Seconds       float64 `json:"seconds"`
}

// Run registers.
func (c *registerCmd) Run(ctx context.Context, g *Globals) error {
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
	started := time.Now()
	read := &registrations{lastOf: make(map[string]*schemas.Registration), tally: newTally(f, newConsole(g.Stderr).line)}
	read.tally.next = "see docs/identity.md for the fields, and --source for the export of an inventory"
	for _, file := range files {
		if err := read.file(ctx, in, file, f); err != nil {
			return err
		}
	}
	sum := registerSummary{Registrations: read.n, Agents: len(read.lastOf), Refused: read.tally.letters}
	zones := read.look(&sum)
	for _, zone := range zones {
		newConsole(g.Stderr).line("plumbline: time zone " + strconv.Quote(zone) + " is not known to this program: the hours of its agents count in UTC")
	}
	if sum.Refused > 0 {
		return errors.Join(c.print(g, &sum, started), fmt.Errorf("%d records have mistakes: nothing was sent", sum.Refused))
	}
	if !c.Check {
		if err := c.send(ctx, g, &sum, read.canonical.Bytes()); err != nil {
			return errors.Join(c.print(g, &sum, started), err)
		}
	}
	return c.print(g, &sum, started)
}

func (c *registerCmd) form(cfg *config.Config) (form, error) {
	if c.Source == "" {
		return newForm(registrationForm, nil)
	}
	i := slices.IndexFunc(cfg.Sources, func(s config.Source) bool { return s.Name == c.Source })
	if i < 0 {
		return form{}, usageError{fmt.Errorf("--source: the config has no source %q", c.Source)}
	}
	if d := cfg.Sources[i].Decoder; d != registrationForm {
		return form{}, usageError{fmt.Errorf("--source: the decoder of %s is %s, not %s", c.Source, d, registrationForm)}
	}
	return newForm(registrationForm, cfg.Sources[i].Options)
}

// topicOf is the topic whose records are registrations as route writes them.
func (c *registerCmd) topicOf(cfg *config.Config) (string, error) {
	if c.Topic != "" {
		return c.Topic, nil
	}
	for _, s := range cfg.Sources {
		if s.Decoder == registrationForm && len(s.Options) == 0 {
			return s.Topic, nil
		}
	}
	return "", errors.New("no source of the config takes registrations: add {name: registry, topic: agent-registry, decoder: registration} to its sources")
}

func (c *registerCmd) send(ctx context.Context, g *Globals, sum *registerSummary, canonical []byte) error {
	service, err := g.Service(c.DataDir)
	if err != nil {
		return err
	}
	if sum.Topic, err = c.topicOf(service.cfg); err != nil {
		return err
	}
	client, err := service.client(ctx)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // every record is acknowledged by then, or reported
	partitions, err := partitionsOf(ctx, client, sum.Topic)
	if err != nil {
		return err
	}
	f, err := newForm(registrationForm, nil)
	if err != nil {
		return err
	}
	in, err := openInputs([]string{"-"}, bytes.NewReader(canonical))
	if err != nil {
		return err
	}
	s := newSender(client, sum.Topic, partitions, f, newConsole(g.Stderr))
	s.patience = sendPatience
	sent, err := s.send(ctx, in)
	sum.Sent = sent.Sent
	return err
}

func (c *registerCmd) print(g *Globals, sum *registerSummary, started time.Time) error {
	sum.Seconds = time.Since(started).Seconds()
	if c.Output == OutputJSON {
		return g.printJSON(sum)
	}
	what := fmt.Sprintf("%d registrations of %d agents", sum.Registrations, sum.Agents)
	if sum.NoOwner > 0 {
		what += fmt.Sprintf(", %d of them without an owner", sum.NoOwner)
	}
	switch {
	case sum.Refused > 0:
		what = fmt.Sprintf("%s are right, %d are not", what, sum.Refused)
	case c.Check:
		what += ": no mistakes"
	default:
		what = fmt.Sprintf("sent %d of %s to %s in %.1f s", sum.Sent, what, terminal.Escape(sum.Topic), sum.Seconds)
	}
	fmt.Fprintln(g.Stdout, what)
	return nil
}

// registrations are those of all files, in their canonical form, one a line.
type registrations struct {
	tally     *tally
	canonical bytes.Buffer
	n         int
	lastOf    map[string]*schemas.Registration // by key
}

func (r *registrations) add(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
	if refusal != nil {
		return // the tally has said it
	}
	reg := ev.Registration
	line := schemas.AppendRegistration(r.canonical.AvailableBuffer(), reg)
	r.canonical.Write(append(line, '\n'))
	r.n++
	key := string(schemas.AppendKey(nil, reg.TenantID, reg.AgentID))
	if last := r.lastOf[key]; last == nil || last.Time <= reg.Time {
		r.lastOf[key] = reg
	}
}

// look counts what is worth a look, and returns the time zones that nobody knows.
func (r *registrations) look(sum *registerSummary) []string {
	unknown := make(map[string]bool)
	for _, reg := range r.lastOf {
		if reg.Owner == "" {
			sum.NoOwner++
		}
		if _, err := time.LoadLocation(reg.TimeZone); err != nil {
			unknown[reg.TimeZone] = true
		}
	}
	out := make([]string, 0, len(unknown))
	for zone := range unknown {
		out = append(out, zone)
	}
	slices.Sort(out)
	return out
}

func (r *registrations) file(ctx context.Context, in *inputs, file string, f form) error {
	// When it was said is when the command ran, where the file does not say it.
	take := func(value []byte) {
		rec := decode.Record{Topic: "register", Time: schemas.Millis(time.Now().UnixMilli()), Value: bytes.Clone(value)}
		r.tally.Decode(&rec, r.add)
	}
	if !strings.EqualFold(filepath.Ext(file), ".csv") {
		return in.one(ctx, file, f.options, r.tally, func(rec input.Record) error {
			take(rec.Data)
			return nil
		})
	}
	data, name, closeFile, err := in.open(file)
	if err != nil {
		return err
	}
	defer closeFile()
	r.tally.begin(name)
	rows := csv.NewReader(data)
	head, err := rows.Read()
	if err != nil {
		return fmt.Errorf("%s: the first line must name the fields: %w", name, err)
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	for i := range head {
		head[i] = strings.TrimSpace(head[i])
	}
	if !slices.Contains(head, "agent_id") {
		return fmt.Errorf("%s: the first line names no agent_id; it must name the fields of the columns, with commas between", name)
	}
	for ctx.Err() == nil {
		cells, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return r.tally.end()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		line, _ := rows.FieldPos(0)
		r.tally.at(int64(line))
		value, err := csvRegistration(head, cells)
		if err != nil {
			return fmt.Errorf("%s, line %d: %w", name, line, err)
		}
		take(value)
	}
	return errInterrupted
}

// csvLists are the columns whose cells hold lists.
var csvLists = []string{"versions", "tools", "destinations", "agents", "credentials"}

// csvRegistration is a line of CSV as a registration in JSON.
func csvRegistration(head, cells []string) ([]byte, error) {
	o := make(map[string]any)
	for i, name := range head {
		cell := strings.TrimSpace(cells[i])
		if cell == "" {
			continue
		}
		if !slices.Contains(csvLists, name) {
			o[name] = cell
			continue
		}
		list := []any{}
		for e := range strings.SplitSeq(cell, ";") {
			if e = strings.TrimSpace(e); e == "" {
				continue
			} else if name == "credentials" {
				list = append(list, map[string]any{"id": e})
			} else {
				list = append(list, e)
			}
		}
		o[name] = list
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b, nil
}

// sendPatience is how long brokers may be away while registrations are sent.
const sendPatience = 5 * time.Minute
