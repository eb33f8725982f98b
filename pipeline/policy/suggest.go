package policy

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Bounds of what is observed and suggested.
const (
	maxSuggested   = 3000 // groups with an action
	maxSeen        = 2000 // texts of a list that are told apart
	maxListed      = 200
	maxListedBytes = 20 << 10
	maxListedText  = 200 // bytes of a text that is listed
)

// Observer collects what the agents of each group did, and suggests policies that permit
// that and no more.
type Observer struct {
	facts   facts
	sites   *sites
	entries map[observedKey]*observed
	Events  int64
	Denied  int64 // at the source: they are suggested to nobody
	Left    int64 // events of groups that there was no room for
	// From and To are the times of the first and the last event.
	From, To schemas.Millis
}

type observedKey struct {
	tenant, group string
	action        action
}

// observed is what a group did with one action, by what it was done to.
type observed struct{ inside, outside, nowhere, agents, nothing did }

// did is the calls that were alike in what they touched.
type did struct {
	calls         int64
	unread        int64 // at places that can't be read
	tools, things tallied
}

// tallied counts texts, up to maxSeen of them.
type tallied struct {
	counts map[string]int64
	more   bool
}

func (t *tallied) add(s string) {
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	if _, ok := t.counts[s]; !ok {
		if len(t.counts) >= maxSeen || len(s) > maxListedText {
			t.more = true
			return
		}
		s = strings.Clone(s)
	}
	t.counts[s]++
}

// NewObserver returns an observer that has seen nothing.
func NewObserver() *Observer {
	return &Observer{sites: newSites(), entries: map[observedKey]*observed{}}
}

// Observe takes an event.
func (o *Observer) Observe(ev *schemas.Activity) {
	if o.To = max(o.To, ev.Time); o.Events == 0 || ev.Time < o.From {
		o.From = ev.Time
	}
	o.Events++
	if ev.Outcome == schemas.OutcomeDenied {
		o.Denied++
		return
	}
	f := &o.facts
	f.event(ev, unregistered, "")
	k := observedKey{f.tenant, f.group, f.action}
	e := o.entries[k]
	if e == nil {
		if len(o.entries) >= maxSuggested {
			o.Left++
			return
		}
		e = &observed{}
		o.entries[observedKey{strings.Clone(k.tenant), strings.Clone(k.group), k.action}] = e
	}
	for _, r := range ev.Resources {
		kind, id := baseline.SplitResource(r)
		if f.resource(ev, kind, id); !f.leaves {
			e.inside.add(ev.Tool, kind)
			continue
		}
		for _, site := range o.sites.of(kind, id) {
			switch site {
			case Unreadable:
				e.outside.unread++
			case "":
				e.nowhere.add(ev.Tool, kind)
			default:
				e.outside.add(ev.Tool, site)
			}
		}
	}
	if ev.TargetAgentID != "" {
		e.agents.add(ev.Tool, ev.TargetAgentID)
	}
	if len(ev.Resources) == 0 && ev.TargetAgentID == "" {
		e.nothing.add(ev.Tool, "")
	}
}

func (d *did) add(tool, thing string) {
	d.calls++
	d.tools.add(tool)
	d.things.add(thing)
}

// Suggest writes the policies, to be reviewed: with default deny they permit what was seen.
func (o *Observer) Suggest() string {
	w := &suggestion{ids: map[string]bool{}}
	keys := slices.SortedFunc(maps.Keys(o.entries), func(a, b observedKey) int {
		return cmp.Or(cmp.Compare(a.tenant, b.tenant), cmp.Compare(a.group, b.group), cmp.Compare(a.action, b.action))
	})
	last := observedKey{}
	for _, k := range keys {
		if last.tenant != k.tenant || last.group != k.group || w.Len() == 0 {
			fmt.Fprintf(w, "\n// ---- group %s of tenant %s\n", strconv.Quote(k.group), strconv.Quote(k.tenant))
			last = k
		}
		e := o.entries[k]
		w.policy(&k, "inside", "!resource.leaves", "resource.kind", &e.inside)
		w.policy(&k, "outside", "resource is Plumbline::Resource && resource.leaves", "resource.site", &e.outside)
		w.policy(&k, "sent", `resource is Plumbline::Resource && resource.leaves && resource.site == ""`, "resource.kind", &e.nowhere)
		w.policy(&k, "agents", "resource is Plumbline::Agent", "resource.id", &e.agents)
		w.policy(&k, "nothing", `resource == Plumbline::Resource::"`+schemas.NoResource+`"`, "", &e.nothing)
	}
	return w.String()
}

type suggestion struct {
	strings.Builder
	ids map[string]bool
}

var notInID = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// id is an id that says what a policy is about.
func (w *suggestion) id(k *observedKey, part string) string {
	plain := func(s string) string { s = notInID.ReplaceAllString(s, "-"); return s[:min(len(s), 30)] }
	id := "suggested/" + plain(k.tenant) + "/" + plain(k.group) + "/" + actionNames[k.action] + "/" + part
	for n := 2; w.ids[id]; n++ {
		id = strings.TrimSuffix(id, "-"+strconv.Itoa(n-1)) + "-" + strconv.Itoa(n)
	}
	w.ids[id] = true
	return id
}

func (w *suggestion) policy(k *observedKey, part, what, thing string, d *did) {
	if d.unread > 0 {
		fmt.Fprintf(w, "// calls of places whose names can't be read, for which nothing is suggested: %d\n", d.unread)
	}
	if d.calls == 0 {
		return
	}
	conditions := []string{what}
	for _, list := range []struct {
		of   string
		seen *tallied
	}{{"context.tool", &d.tools}, {thing, &d.things}} {
		if list.of == "" {
			continue
		}
		listed, left := list.seen.top()
		if left != "" {
			fmt.Fprintf(w, "// %s: %s; what is not listed is not permitted.\n", list.of, left)
		}
		if len(listed) == 0 {
			return
		}
		conditions = append(conditions, "["+strings.Join(listed, ", ")+"].contains("+list.of+")")
	}
	group := types.NewEntityUID(typeGroup, types.String(k.tenant+"/"+k.group))
	fmt.Fprintf(w, "// calls: %d\n@id(%q)\npermit (\n  principal in %s,\n  action == %s,\n  resource\n) when {\n  %s\n};\n",
		d.calls, w.id(k, part), group.MarshalCedar(), actionUIDs[k.action].MarshalCedar(), strings.Join(conditions, " &&\n  "))
}

// top returns the texts that were seen the most, as literals in their order, and says
// which are left out.
func (t *tallied) top() (literals []string, left string) {
	all := slices.SortedFunc(maps.Keys(t.counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.counts[b], t.counts[a]), cmp.Compare(a, b))
	})
	n, size := 0, 0
	for n < len(all) && n < maxListed && size < maxListedBytes {
		size += len(types.String(all[n]).MarshalCedar()) + 2
		n++
	}
	switch {
	case t.more:
		left = fmt.Sprintf("over %d were seen, or some that are too long", len(all))
	case n < len(all):
		left = fmt.Sprintf("%d were seen", len(all))
	}
	all = all[:n]
	slices.Sort(all)
	for _, s := range all {
		literals = append(literals, string(types.String(s).MarshalCedar()))
	}
	return literals, left
}
