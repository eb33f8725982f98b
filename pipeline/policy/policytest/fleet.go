// Package policytest has the policies of tests and benchmarks: what a SOC might write for
// the simulator's fleet, in any number.
package policytest

import (
	"fmt"
	"strconv"
	"strings"
)

// groups are the peer groups of the simulator's fleet.
var groups = []string{"invoice-bots", "support-triage", "etl", "crm-sync", "legal", "code-review", "hr", "sales-research", "fraud", "infra"}

// forms are policies with {g} for a group, {n} for a number and {a} for an agent: of each
// kind of scope and condition some.
var forms = []string{
	`permit (principal in Plumbline::PeerGroup::"default/{g}", action in [Plumbline::Action::"read", Plumbline::Action::"model_call"], resource);`,
	`permit (principal in Plumbline::PeerGroup::"default/{g}", action in [Plumbline::Action::"write", Plumbline::Action::"message"], resource) when { !resource.leaves || resource is Plumbline::Agent };`,
	`permit (principal in Plumbline::PeerGroup::"default/{g}", action == Plumbline::Action::"send", resource) when { resource.leaves && ["example.com", "example.org", "hooks.example.com", "site-{n}.example.com"].contains(resource.site) };`,
	`@severity("high") forbid (principal in Plumbline::PeerGroup::"default/{g}", action, resource) when { context.bytes_sent > {n}00000 && resource.leaves };`,
	`@severity("high") forbid (principal, action, resource is Plumbline::Resource) when { resource.site == "drop-{n}.example" };`,
	`forbid (principal, action == Plumbline::Action::"execute", resource) when { context.tool == "tool-{n}.run" } unless { principal.criticality == "low" };`,
	`forbid (principal in Plumbline::PeerGroup::"default/{g}", action == Plumbline::Action::"delete", resource) when { resource.kind == "db" && resource.id like "*.backup{n}*" };`,
	`@mode("observe") forbid (principal, action == Plumbline::Action::"delegate", resource is Plumbline::Agent) when { principal.risk == "critical" && resource.id like "agent-{n}-*" };`,
	`forbid (principal == Plumbline::Agent::"default/{a}", action, resource) when { context.hour < 6 && context.bytes_received > {n}000 };`,
	`@severity("low") forbid (principal in Plumbline::Tenant::"tenant-{n}", action, resource) when { principal.registered == false };`,
	`forbid (principal, action, resource == Plumbline::Resource::"file:/etc/secret-{n}");`,
	`@mode("observe") forbid (principal in Plumbline::PeerGroup::"default/{g}", action, resource) when { context has source_ip && context.source_ip.isInRange(ip("192.0.{n}.0/24")) };`,
	`forbid (principal in Plumbline::PeerGroup::"default/{g}", action, resource) when { context.outcome == "success" && context.model == "model-{n}" };`,
	`permit (principal == Plumbline::Agent::"default/{a}", action == Plumbline::Action::"execute", resource) when { resource.kind == "k8s" && ["saturday", "sunday"].contains(context.weekday) == false };`,
}

// Fleet returns n policies for the simulator's fleet.
func Fleet(n int) []byte {
	var b strings.Builder
	for i := range n {
		g := groups[i%len(groups)]
		number := strconv.Itoa(1 + i%200)
		r := strings.NewReplacer("{g}", g, "{n}", number, "{a}", fmt.Sprintf("%s-%03d", strings.TrimSuffix(g, "s"), i%90))
		fmt.Fprintf(&b, "@id(\"fleet-%d\") %s\n", i, r.Replace(forms[(i/len(groups)+i)%len(forms)]))
	}
	return []byte(b.String())
}
