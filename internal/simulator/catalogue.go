package simulator

import "strings"

// size is a log-normal number of bytes or milliseconds.
type size struct{ median, sigma float64 }

// tool is what agents of a role call.
type tool struct {
	name   string
	access string
	weight float64
	// What it touches: one of items, or a form with {n} (a number), {hex} (eight
	// hexadecimal digits), {y}, {m}, {d} (a date).
	items []string
	form  string
	// dated things come up every day and are forgotten: a call takes one of the
	// last 64.
	dated bool
	pool  int     // how many things of this form the group knows
	own   int     // how many of them, about, an agent knows when it starts
	fresh float64 // chance per call of a thing that this agent never touched
	many  float64 // mean number of things per call, at least 1

	sent, received size
	took           size

	segments []segment
}

// role is a peer group: agents with the same job.
type role struct {
	name   string // of the agents: name-07
	group  string
	label  string
	model  string
	team   string // on whose behalf
	model1 float64
	length float64 // mean events of a session
	gap    float64 // median seconds between the events of a session
	rate   float64 // events relative to the archetype's median
	fits   []Archetype
	tools  []tool // in the order of the job
	later  []tool // rolled out while the fleet runs
}

// segment is a piece of a form: a text, then what is filled in.
type segment struct {
	text string
	fill byte // 0, 'n', 'h', 'y', 'm', 'd'
}

func parseForm(form string) []segment {
	var out []segment
	for form != "" {
		open := strings.IndexByte(form, '{')
		if open < 0 {
			return append(out, segment{text: form})
		}
		end := open + strings.IndexByte(form[open:], '}')
		out = append(out, segment{text: form[:open], fill: form[open+1]})
		form = form[end+1:]
	}
	return out
}

// kindOf returns what stands before the colon of a resource.
func (t *tool) kindOf() string {
	name := t.form
	if len(t.items) > 0 {
		name = t.items[0]
	}
	kind, _, _ := strings.Cut(name, ":")
	return kind
}

// roles are ordered so that the first five cover all archetypes.
var roles = func() []role {
	all := []role{
		invoiceBot, supportTriage, etlNightly, crmSync, contractAnalyst,
		codeReviewer, hrHelpdesk, salesResearcher, fraudScreener, infraWatch,
	}
	for i := range all {
		for _, list := range [][]tool{all[i].tools, all[i].later} {
			for j := range list {
				list[j].segments = parseForm(list[j].form)
				list[j].many = max(1, list[j].many)
			}
		}
	}
	return all
}()

var (
	tiny   = size{180, .5}
	small  = size{900, .6}
	page   = size{9e3, .8}
	bulk   = size{180e3, 1}
	quick  = size{60, .5}
	usual  = size{350, .6}
	slow   = size{2500, .7}
	asking = 0.3
)

var invoiceBot = role{
	name: "invoice-bot", group: "invoice-bots", label: "Invoice bot", model: "claude-sonnet-4-5", team: "team-accounts-payable@example.com",
	model1: asking, length: 9, gap: 4, rate: 1, fits: []Archetype{Diurnal},
	tools: []tool{
		{name: "s3.get_object", access: "read", weight: 3, form: "s3:invoices/{y}/{m}/inv-{n}.pdf", dated: true, fresh: .5, sent: tiny, received: bulk, took: usual},
		{name: "erp.lookup_vendor", access: "read", weight: 2, form: "db:erp.vendors/{n}", pool: 4000, own: 220, fresh: .008, sent: tiny, received: small, took: quick},
		{name: "erp.match_purchase_order", access: "read", weight: 2, items: []string{"db:erp.purchase_orders", "db:erp.goods_receipts", "db:erp.cost_centres"}, own: 2, fresh: .0002, sent: small, received: page, took: usual},
		{name: "ledger.post_entry", access: "write", weight: 2, items: []string{"db:ledger.journal", "db:ledger.accruals", "db:ledger.tax"}, own: 2, fresh: .0002, sent: small, received: tiny, took: usual},
		{name: "mail.send", access: "send", weight: .6, form: "email:billing-{n}@example.org", pool: 900, own: 40, fresh: .004, sent: size{4e3, .6}, received: tiny, took: usual},
	},
	later: []tool{{name: "erp.check_duplicate", access: "read", weight: 1.2, items: []string{"db:erp.invoice_index"}, own: 1, sent: tiny, received: small, took: quick}},
}

var supportTriage = role{
	name: "support-triage", group: "support-triage", label: "Support triage", model: "claude-haiku-4-5", team: "team-support@example.com",
	model1: asking, length: 7, gap: 6, rate: 1.3, fits: []Archetype{Diurnal, Diurnal, Bursty},
	tools: []tool{
		{name: "tickets.fetch", access: "read", weight: 3, form: "ticket:SUP-{n}", dated: true, fresh: .6, sent: tiny, received: page, took: quick},
		{name: "kb.search", access: "read", weight: 3, form: "kb:article-{n}", pool: 1200, own: 160, fresh: .01, many: 2.5, sent: tiny, received: page, took: usual},
		{name: "crm.lookup", access: "read", weight: 2, items: []string{"db:crm.accounts", "db:crm.contacts", "db:crm.contracts", "db:crm.entitlements"}, own: 3, fresh: .0002, sent: tiny, received: small, took: quick},
		{name: "mail.reply", access: "send", weight: 1, form: "email:customer-{n}@example.org", pool: 60000, own: 400, fresh: .08, sent: size{2500, .6}, received: tiny, took: usual},
		{name: "tickets.update", access: "write", weight: 2, form: "ticket:SUP-{n}", dated: true, fresh: .05, sent: small, received: tiny, took: quick},
		{name: "chat.post", access: "send", weight: .3, items: []string{"slack:#support-escalations", "slack:#support", "slack:#on-call", "slack:#billing-questions"}, own: 2, fresh: .002, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "translate.text", access: "execute", weight: 1.5, items: []string{"host:translate.example.com"}, own: 1, sent: small, received: small, took: usual}},
}

var etlNightly = role{
	name: "etl-nightly", group: "etl", label: "Nightly ETL", model: "gpt-5-mini", team: "team-data@example.com",
	model1: .04, length: 60, gap: 2, rate: 1, fits: []Archetype{Batch},
	tools: []tool{
		{name: "warehouse.query", access: "read", weight: 4, items: tables, own: 7, fresh: .0005, sent: small, received: size{2e6, 1.1}, took: slow},
		{name: "lake.list", access: "read", weight: 1, form: "s3:lake/raw/dt={y}-{m}-{d}/part-{n}", dated: true, fresh: .3, sent: tiny, received: small, took: quick},
		{name: "lake.put_partition", access: "write", weight: 3, form: "s3:lake/marts/dt={y}-{m}-{d}/part-{n}.parquet", dated: true, fresh: .8, sent: size{1.2e6, .9}, received: tiny, took: slow},
		{name: "chat.post", access: "send", weight: .05, items: []string{"slack:#data-eng", "slack:#data-quality", "slack:#finance-numbers"}, own: 1, fresh: .005, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "quality.assert", access: "execute", weight: 1, items: []string{"db:quality.checks"}, own: 1, sent: small, received: small, took: usual}},
}

var tables = []string{
	"db:warehouse.orders", "db:warehouse.order_lines", "db:warehouse.customers", "db:warehouse.shipments", "db:warehouse.payments",
	"db:warehouse.refunds", "db:warehouse.sessions", "db:warehouse.page_views", "db:warehouse.campaigns", "db:warehouse.inventory",
	"db:warehouse.suppliers", "db:warehouse.fx_rates", "db:warehouse.employees", "db:warehouse.tickets", "db:warehouse.subscriptions",
}

var crmSync = role{
	name: "crm-sync", group: "crm-sync", label: "CRM sync", model: "gpt-5-mini", team: "team-revops@example.com",
	model1: .02, length: 20, gap: 3, rate: 1, fits: []Archetype{Steady, Steady, Batch},
	tools: []tool{
		{name: "crm.changes", access: "read", weight: 3, items: []string{"db:crm.accounts", "db:crm.contacts", "db:crm.opportunities", "db:crm.activities"}, own: 3, fresh: .0001, sent: tiny, received: page, took: usual},
		{name: "billing.upsert", access: "write", weight: 2, items: []string{"db:billing.customers", "db:billing.subscriptions", "db:billing.contacts"}, own: 2, fresh: .0001, sent: small, received: tiny, took: usual},
		{name: "webhook.notify", access: "send", weight: .4, items: []string{"url:https://hooks.example.com/crm", "url:https://hooks.example.com/billing", "url:https://hooks.example.com/audit"}, own: 1, fresh: .0005, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "crm.dedupe", access: "write", weight: .8, items: []string{"db:crm.merge_queue"}, own: 1, sent: small, received: small, took: usual}},
}

var contractAnalyst = role{
	name: "contract-analyst", group: "legal", label: "Contract analyst", model: "claude-opus-4-1", team: "team-legal@example.com",
	model1: .4, length: 6, gap: 15, rate: 1, fits: []Archetype{Rare, Rare, Diurnal},
	tools: []tool{
		{name: "drive.read", access: "read", weight: 4, form: "drive:contracts/msa-{n}.docx", pool: 700, own: 60, fresh: .08, sent: tiny, received: bulk, took: usual},
		{name: "search.clauses", access: "read", weight: 2, form: "kb:clause-{n}", pool: 300, own: 70, fresh: .02, many: 3, sent: tiny, received: page, took: usual},
		{name: "drive.comment", access: "write", weight: 2, form: "drive:contracts/msa-{n}.docx", pool: 700, own: 40, fresh: .06, sent: small, received: tiny, took: usual},
		{name: "mail.send", access: "send", weight: .7, items: []string{"email:legal@example.com", "email:procurement@example.com", "email:sales-ops@example.com", "email:privacy@example.com"}, own: 2, fresh: .01, sent: page, received: tiny, took: usual},
	},
	later: []tool{{name: "esign.request", access: "send", weight: .6, items: []string{"url:https://esign.example.com/envelopes"}, own: 1, sent: bulk, received: tiny, took: slow}},
}

var codeReviewer = role{
	name: "code-reviewer", group: "code-review", label: "Code reviewer", model: "claude-sonnet-4-5", team: "team-platform@example.com",
	model1: asking, length: 14, gap: 7, rate: 1.2, fits: []Archetype{Diurnal, Bursty},
	tools: []tool{
		{name: "git.diff", access: "read", weight: 2, form: "repo:app/pull/{n}", dated: true, fresh: .35, sent: tiny, received: page, took: usual},
		{name: "git.read_file", access: "read", weight: 5, form: "file:src/module-{n}.go", pool: 5000, own: 350, fresh: .03, many: 1.6, sent: tiny, received: page, took: quick},
		{name: "ci.run_tests", access: "execute", weight: 1, items: []string{"host:ci-1.example.com", "host:ci-2.example.com", "host:ci-3.example.com"}, own: 3, sent: tiny, received: page, took: size{45e3, .8}},
		{name: "git.comment", access: "write", weight: 1.5, form: "repo:app/pull/{n}", dated: true, fresh: .02, sent: small, received: tiny, took: quick},
		{name: "packages.fetch", access: "read", weight: .5, form: "url:https://packages.example.com/lib-{n}", pool: 900, own: 50, fresh: .01, sent: tiny, received: bulk, took: usual},
		{name: "chat.post", access: "send", weight: .25, items: []string{"slack:#reviews", "slack:#platform", "slack:#releases"}, own: 1, fresh: .003, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "sast.scan", access: "execute", weight: 1, items: []string{"host:sast.example.com"}, own: 1, sent: page, received: page, took: slow}},
}

var hrHelpdesk = role{
	name: "hr-helpdesk", group: "hr", label: "HR helpdesk", model: "claude-haiku-4-5", team: "team-people@example.com",
	model1: .35, length: 5, gap: 12, rate: .6, fits: []Archetype{Diurnal, Rare},
	tools: []tool{
		{name: "handbook.search", access: "read", weight: 3, form: "kb:policy-{n}", pool: 240, own: 90, fresh: .01, many: 2, sent: tiny, received: page, took: usual},
		{name: "hris.get_record", access: "read", weight: 2, form: "db:hris.people/{n}", pool: 3000, own: 150, fresh: .05, sent: tiny, received: small, took: quick},
		{name: "hris.update_leave", access: "write", weight: 1, items: []string{"db:hris.leave", "db:hris.leave_balance"}, own: 2, sent: small, received: tiny, took: usual},
		{name: "chat.reply", access: "send", weight: 2, form: "slack:dm-{n}", pool: 3000, own: 140, fresh: .05, sent: small, received: tiny, took: quick},
		{name: "mail.send", access: "send", weight: .2, items: []string{"email:payroll@example.com", "email:people@example.com", "email:benefits@example.com"}, own: 1, fresh: .004, sent: small, received: tiny, took: usual},
	},
	later: []tool{{name: "calendar.book", access: "write", weight: .8, items: []string{"calendar:people-team"}, own: 1, sent: small, received: tiny, took: quick}},
}

var salesResearcher = role{
	name: "sales-researcher", group: "sales-research", label: "Sales researcher", model: "gpt-5", team: "team-sales@example.com",
	model1: .35, length: 12, gap: 9, rate: .8, fits: []Archetype{Diurnal, Rare, Bursty},
	tools: []tool{
		{name: "web.search", access: "read", weight: 3, items: []string{"host:search.example.com"}, own: 1, sent: tiny, received: page, took: usual},
		{name: "web.fetch", access: "read", weight: 4, form: "url:https://site-{n}.example.org/about", pool: 20000, own: 250, fresh: .2, sent: tiny, received: size{60e3, 1}, took: slow},
		{name: "crm.read", access: "read", weight: 2, items: []string{"db:crm.accounts", "db:crm.contacts", "db:crm.opportunities"}, own: 2, fresh: .0005, sent: tiny, received: small, took: quick},
		{name: "crm.update", access: "write", weight: 1.5, items: []string{"db:crm.accounts", "db:crm.notes"}, own: 2, fresh: .0005, sent: small, received: tiny, took: quick},
		{name: "mail.draft", access: "send", weight: .5, form: "email:contact-{n}@example.org", pool: 20000, own: 120, fresh: .12, sent: size{3e3, .5}, received: tiny, took: usual},
	},
	later: []tool{{name: "enrich.company", access: "read", weight: 1, items: []string{"url:https://enrich.example.com/v1"}, own: 1, sent: tiny, received: small, took: usual}},
}

var fraudScreener = role{
	name: "fraud-screener", group: "fraud", label: "Fraud screener", model: "claude-haiku-4-5", team: "team-risk@example.com",
	model1: .2, length: 5, gap: 2, rate: 2, fits: []Archetype{Bursty, Bursty, Steady},
	tools: []tool{
		{name: "payments.get", access: "read", weight: 3, form: "payment:{hex}", dated: true, fresh: .9, sent: tiny, received: small, took: quick},
		{name: "features.fetch", access: "read", weight: 3, items: []string{"db:risk.features", "db:risk.devices", "db:risk.velocity", "db:risk.chargebacks"}, own: 3, fresh: .0001, sent: tiny, received: small, took: quick},
		{name: "cases.open", access: "write", weight: .4, items: []string{"db:risk.cases"}, own: 1, sent: small, received: tiny, took: usual},
		{name: "payments.hold", access: "write", weight: .5, form: "payment:{hex}", dated: true, fresh: .05, sent: tiny, received: tiny, took: quick},
		{name: "chat.post", access: "send", weight: .1, items: []string{"slack:#fraud-desk", "slack:#payments"}, own: 1, fresh: .001, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "graph.neighbours", access: "read", weight: 1, items: []string{"db:risk.graph"}, own: 1, sent: tiny, received: page, took: usual}},
}

var infraWatch = role{
	name: "infra-watch", group: "infra", label: "Infra watch", model: "gpt-5-mini", team: "team-sre@example.com",
	model1: .08, length: 12, gap: 3, rate: 1.5, fits: []Archetype{Steady, Steady, Bursty},
	tools: []tool{
		{name: "metrics.query", access: "read", weight: 5, items: []string{"metric:cpu", "metric:memory", "metric:disk", "metric:http_5xx", "metric:queue_depth", "metric:p99_latency"}, own: 5, fresh: .0002, many: 1.5, sent: tiny, received: small, took: quick},
		{name: "logs.tail", access: "read", weight: 2, form: "log:svc-{n}", pool: 120, own: 25, fresh: .001, sent: tiny, received: page, took: usual},
		{name: "k8s.describe", access: "read", weight: 2, form: "k8s:prod/deployment/svc-{n}", pool: 120, own: 20, fresh: .001, sent: tiny, received: small, took: quick},
		{name: "k8s.restart", access: "execute", weight: .05, form: "k8s:prod/deployment/svc-{n}", pool: 120, own: 8, fresh: .005, sent: tiny, received: tiny, took: usual},
		{name: "pager.notify", access: "send", weight: .06, items: []string{"url:https://pager.example.com/events"}, own: 1, sent: small, received: tiny, took: quick},
	},
	later: []tool{{name: "traces.search", access: "read", weight: 1, items: []string{"trace:prod"}, own: 1, sent: tiny, received: page, took: usual}},
}
