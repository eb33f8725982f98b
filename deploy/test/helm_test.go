package test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	promv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

const chartDir = "../helm/plumbline"

// render gives the chart's files as Helm would send them.
func render(t *testing.T, c *chart.Chart, values map[string]any) (map[string]string, error) {
	t.Helper()
	merged, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "prod", Namespace: "security", IsInstall: true, Revision: 1}, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, merged)
}

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(chartDir)
	require.NoError(t, err)
	return c
}

// kinds are the types that the chart may make.
var kinds = map[string]func() any{
	"v1/ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"v1/Service":                              func() any { return new(corev1.Service) },
	"v1/ServiceAccount":                       func() any { return new(corev1.ServiceAccount) },
	"apps/v1/Deployment":                      func() any { return new(appsv1.Deployment) },
	"policy/v1/PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"monitoring.coreos.com/v1/ServiceMonitor": func() any { return new(promv1.ServiceMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(promv1.PrometheusRule) },
}

// objects reads what was rendered; a field that Kubernetes does not know fails.
func objects(t *testing.T, files map[string]string) (out []any) {
	t.Helper()
	for name, text := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			continue
		}
		for doc := range strings.SplitSeq("\n"+text, "\n---") {
			var head struct{ APIVersion, Kind string }
			require.NoError(t, yaml.Unmarshal([]byte(doc), &head), "%s\n%s", name, doc)
			if head.Kind == "" {
				continue
			}
			known := kinds[head.APIVersion+"/"+head.Kind]
			require.NotNil(t, known, "%s: %s/%s", name, head.APIVersion, head.Kind)
			object := known()
			require.NoError(t, yaml.UnmarshalStrict([]byte(doc), object), "%s\n%s", name, doc)
			out = append(out, object)
		}
	}
	return out
}

func valuesFiles(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{"default": {}}
	files, err := filepath.Glob("testdata/good/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		out[filepath.Base(file)], err = chartutil.ReadValuesFile(file)
		require.NoError(t, err)
	}
	page, err := os.ReadFile("../../docs/deploy.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s) {3}```yaml\n(.*?) {3}```").FindSubmatch(page)
	require.NotNil(t, block)
	out["deploy.md"], err = chartutil.ReadValues(block[1])
	require.NoError(t, err)
	return out
}

func TestTheChartHasNothingThatLintFinds(t *testing.T) {
	// Lint reads Chart.yaml itself; a version of a release is in it.
	for name, values := range valuesFiles(t) {
		for _, m := range lint.All(chartDir, values, "security", true).Messages {
			require.LessOrEqual(t, m.Severity, support.InfoSev, "%s: %s", name, m.Error())
		}
	}
}

func TestWhatTheChartMakesIsWhatKubernetesKnows(t *testing.T) {
	for name, values := range valuesFiles(t) {
		t.Run(name, func(t *testing.T) {
			files, err := render(t, load(t), values)
			require.NoError(t, err)
			require.Contains(t, files["plumbline/templates/NOTES.txt"], "kubectl -n security exec deploy/")
			count := map[string]int{}
			pods := map[string]map[string]string{}
			var selectors []map[string]string
			for _, object := range objects(t, files) {
				switch o := object.(type) {
				case *appsv1.Deployment:
					count["Deployment"]++
					checkDeployment(t, o)
					pods[o.Name] = o.Spec.Template.Labels
				case *corev1.ServiceAccount:
					count["ServiceAccount"]++
					require.False(t, *o.AutomountServiceAccountToken)
				case *policyv1.PodDisruptionBudget:
					count["PodDisruptionBudget"]++
					selectors = append(selectors, o.Spec.Selector.MatchLabels)
				case *networkingv1.NetworkPolicy:
					count["NetworkPolicy"]++
					selectors = append(selectors, o.Spec.PodSelector.MatchLabels)
				case *corev1.Service:
					selectors = append(selectors, o.Spec.Selector)
				case *corev1.ConfigMap:
					if config, ok := o.Data["plumbline.yaml"]; ok {
						secrets := ""
						if strings.Contains(config, "/run/secrets/plumbline") {
							secrets = "/run/secrets/plumbline"
						}
						policies := t.TempDir()
						for name, text := range o.Data {
							if strings.HasSuffix(name, ".cedar") {
								require.NoError(t, os.WriteFile(filepath.Join(policies, name), []byte(text), 0o600))
								config = strings.ReplaceAll(config, "/etc/plumbline/", policies+"/")
							}
						}
						validate(t, []byte(config), secrets, "CLICKHOUSE_PASSWORD=of the test")
					} else {
						count["dashboard"]++
					}
				case *promv1.PrometheusRule:
					count["PrometheusRule"]++
					require.NotEmpty(t, o.Spec.Groups)
					for _, g := range o.Spec.Groups {
						require.NotEmpty(t, g.Rules, g.Name)
					}
				case *promv1.ServiceMonitor:
					count["ServiceMonitor"]++
				}
			}
			for _, selector := range selectors {
				require.NotEmpty(t, selector)
				found := false
				for _, labels := range pods {
					found = found || within(selector, labels)
				}
				require.True(t, found, "%v selects no pod", selector)
			}
			want := map[string]map[string]int{
				"default":         {"Deployment": 3, "ServiceAccount": 1, "PodDisruptionBudget": 3, "NetworkPolicy": 2},
				"deploy.md":       {"Deployment": 3, "ServiceAccount": 1, "PodDisruptionBudget": 3, "NetworkPolicy": 2},
				"everything.yaml": {"Deployment": 3, "ServiceAccount": 1, "PodDisruptionBudget": 3, "NetworkPolicy": 2, "ServiceMonitor": 1, "PrometheusRule": 1, "dashboard": dashboards(t)},
				"issuer.yaml":     {"Deployment": 3, "ServiceAccount": 1, "PodDisruptionBudget": 3, "NetworkPolicy": 2},
				"deciding.yaml":   {"Deployment": 4, "ServiceAccount": 1, "PodDisruptionBudget": 4, "NetworkPolicy": 2},
				"little.yaml":     {"Deployment": 2, "ServiceAccount": 1},
			}
			require.Equal(t, want[name], count)
		})
	}
}

func within(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func dashboards(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("../grafana/dashboards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return len(files)
}

var pinned = regexp.MustCompile(`(@sha256:[0-9a-f]{64}|:(v?[0-9]+\.[0-9]+\.[0-9]+.*|dev))$`)

func checkDeployment(t *testing.T, d *appsv1.Deployment) {
	t.Helper()
	require.True(t, within(d.Spec.Selector.MatchLabels, d.Spec.Template.Labels))
	pod := d.Spec.Template.Spec
	require.False(t, *pod.AutomountServiceAccountToken)
	require.Greater(t, *pod.TerminationGracePeriodSeconds, int64(30), "a drain takes up to 30 s")
	require.True(t, *pod.SecurityContext.RunAsNonRoot)
	require.Equal(t, corev1.SeccompProfileTypeRuntimeDefault, pod.SecurityContext.SeccompProfile.Type)
	require.Len(t, pod.Containers, 1)
	c := pod.Containers[0]
	require.Regexp(t, pinned, c.Image)
	require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
	require.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
	require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
	require.Equal(t, "/healthz", c.LivenessProbe.HTTPGet.Path)
	require.Equal(t, "/readyz", c.ReadinessProbe.HTTPGet.Path)
	role := c.Args[len(c.Args)-1]
	require.Equal(t, []string{"run", "--config", "/etc/plumbline/plumbline.yaml", "--roles", role}, c.Args)
	require.Equal(t, role, d.Labels["app.kubernetes.io/component"])
	require.True(t, strings.HasSuffix(d.Name, "-"+role))
	limit, request := c.Resources.Limits.Memory(), c.Resources.Requests.Memory()
	require.Positive(t, limit.Value())
	require.LessOrEqual(t, request.Value(), limit.Value())
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" {
			bytes := memory(t, e.Value)
			require.Less(t, bytes, limit.Value(), "%s: the collector must begin before the kernel ends it", role)
			require.Greater(t, bytes, limit.Value()*8/10, role)
			continue
		}
		require.Empty(t, e.Value, "%s stands there in clear", e.Name)
	}
}

// memory reads GOMEMLIMIT, whose units Kubernetes writes without the B.
func memory(t *testing.T, text string) int64 {
	t.Helper()
	var list corev1.ResourceList
	require.NoError(t, yaml.Unmarshal([]byte("memory: "+strings.TrimSuffix(text, "B")), &list))
	return list.Memory().Value()
}

func TestNetworkPoliciesOpenThePortsOfTheConfig(t *testing.T) {
	for name, want := range map[string]map[string][]int{
		"everything.yaml": {"anomalies": {53, 53, 9093, 9094}, "anomalies-archive": {9440}},
		"issuer.yaml":     {"prod-plumbline": {53, 53, 9093, 443}, "prod-plumbline-archive": {9000}},
	} {
		files, err := render(t, load(t), valuesFiles(t)[name])
		require.NoError(t, err)
		ports := map[string][]int{}
		for _, object := range objects(t, files) {
			if o, ok := object.(*networkingv1.NetworkPolicy); ok {
				for _, rule := range o.Spec.Egress {
					for _, p := range rule.Ports {
						ports[o.Name] = append(ports[o.Name], p.Port.IntValue())
					}
				}
			}
		}
		require.Equal(t, want, ports, name)
	}
}

// A token that Kubernetes renews is where the config looks for it; a pod that asks for
// none has none.
func TestPodsHaveTheTokenThatTheyAskFor(t *testing.T) {
	for name, want := range map[string]*corev1.ServiceAccountTokenProjection{
		"issuer.yaml":     {Audience: "kafka", ExpirationSeconds: new(int64(3600)), Path: "token"},
		"everything.yaml": nil,
	} {
		files, err := render(t, load(t), valuesFiles(t)[name])
		require.NoError(t, err)
		for _, object := range objects(t, files) {
			switch o := object.(type) {
			case *corev1.ServiceAccount:
				require.Equal(t, want != nil, o.Annotations["eks.amazonaws.com/role-arn"] != "", name)
			case *appsv1.Deployment:
				require.Contains(t, o.Spec.Template.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "secrets", MountPath: "/run/secrets/plumbline", ReadOnly: true}, name)
				var got *corev1.ServiceAccountTokenProjection
				for _, v := range o.Spec.Template.Spec.Volumes {
					if v.Projected != nil {
						for _, s := range v.Projected.Sources {
							if s.ServiceAccountToken != nil {
								got = s.ServiceAccountToken
							}
						}
					}
				}
				require.Equal(t, want, got, name)
			}
		}
	}
}

func TestAnotherConfigIsAnotherPod(t *testing.T) {
	sums := map[string]bool{}
	for _, level := range []string{"info", "debug"} {
		files, err := render(t, load(t), map[string]any{"config": map[string]any{"log": map[string]any{"level": level}}})
		require.NoError(t, err)
		for _, object := range objects(t, files) {
			if d, ok := object.(*appsv1.Deployment); ok {
				sums[d.Spec.Template.Annotations["plumbline/config"]] = true
			}
		}
	}
	require.Len(t, sums, 2)
}

func TestTheSchemaRefusesWhatCannotBe(t *testing.T) {
	var bad []struct {
		Says   string
		Values map[string]any
	}
	text, err := os.ReadFile("testdata/bad.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.UnmarshalStrict(text, &bad))
	for _, b := range bad {
		_, err := render(t, load(t), b.Values)
		require.Error(t, err, b.Says)
		require.Contains(t, strings.NewReplacer("/", ".", "'", "").Replace(err.Error()), b.Says)
		require.NotContains(t, err.Error(), "template:", "it is the schema that refuses")
	}
}

// The values of the schema and of the file are the same ones.
func TestTheSchemaKnowsEveryValue(t *testing.T) {
	c := load(t)
	require.NotEmpty(t, c.Schema)
	for key := range c.Values {
		require.True(t, bytes.Contains(c.Schema, []byte(`"`+key+`"`)), key)
	}
}
