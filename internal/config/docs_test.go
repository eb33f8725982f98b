package config

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

const docsIntro = `# Configuration

<!-- Generated from internal/config/config.go: make docs -->

Plumbline reads one YAML file, named by ` + "`--config`" + `. Every key has a default, so an empty file, or none, runs: Kafka and
ClickHouse are then embedded, on this machine only.

The file is read strictly. An unknown key, a key that stands there twice, a value of the wrong type or out of range is an error
with its line and what to write instead; ` + "`plumbline config validate --config FILE`" + ` names all of them at once, and
` + "`plumbline config print --config FILE`" + ` shows what is in force, defaults included and secrets masked.

**Values from outside.** ` + "`${NAME}`" + ` anywhere in a value is replaced by the environment variable of that name, which must be set;
` + "`$${`" + ` stands for the text ` + "`${`" + `. A password is either ` + "`${NAME}`" + ` alone or ` + "`file:PATH`" + `, the content of that file without the newline
at its end; one that is written out is refused.

**Durations** have a unit: ` + "`250ms`, `30s`, `15m`, `6h`, `1h30m`" + `. **Sizes** are bytes, or have one: ` + "`64KiB`, `16MiB`, `1GiB`" + `. Relative
paths start from the working directory.

**What changes verdicts** has a fingerprint, ` + "`config_hash`" + ` in every alert and window: ` + "`kafka.partitions`" + ` (peers belong to a
partition), ` + "`detector`" + ` without the runbook, and ` + "`policy`" + ` with what its files hold.

**What a running service takes over** is ` + "`policy`" + `, and ` + "`detector`" + ` without ` + "`checkpoint_every`" + ` and ` + "`on_lost_state`" + `; every other key needs a restart
([operations](operations.md#changing-the-config)).

## All keys with their defaults

` + "```yaml\n%s```\n"

// typeDocs returns the comments of the types and fields of config.go.
func typeDocs(t *testing.T) (types map[string]string, fields map[string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	require.NoError(t, err)
	types, fields = map[string]string{}, map[string]string{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		spec := gen.Specs[0].(*ast.TypeSpec)
		types[spec.Name.Name] = oneLine(gen.Doc.Text())
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			fields[spec.Name.Name+"."+f.Names[0].Name] = oneLine(f.Doc.Text())
		}
	}
	return types, fields
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func inline(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.MarshalWithOptions(v, yaml.Flow(true))
	require.NoError(t, err)
	return strings.TrimSpace(string(b))
}

// writeSection writes the table of one struct, then those of the structs in it.
func writeSection(t *testing.T, b *strings.Builder, v reflect.Value, key string) {
	t.Helper()
	types, fields := typeDocs(t)
	ty := v.Type()
	if key != "" {
		fmt.Fprintf(b, "\n## `%s`\n\n%s\n", key, types[ty.Name()])
	}
	b.WriteString("\n| key | default | meaning |\n|---|---|---|\n")
	var below []func()
	for f := range ty.Fields() {
		name := f.Tag.Get("yaml")
		if name == notInFile {
			continue
		}
		doc := fields[ty.Name()+"."+f.Name]
		require.NotEmpty(t, doc, "%s.%s has no comment", ty.Name(), f.Name)
		value := v.FieldByIndex(f.Index)
		preset := "`" + inline(t, value.Interface()) + "`"
		k := dotted(key, name)
		isSection := f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]()
		switch {
		case isSection:
			preset = "see below"
			below = append(below, func() { writeSection(t, b, value, k) })
		case f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[Endpoints]() && f.Type != reflect.TypeFor[Names]():
			element := reflect.New(f.Type.Elem()).Elem()
			if e, ok := reflect.TypeAssert[interface{ setDefaults() }](element.Addr()); ok {
				e.setDefaults()
			}
			below = append(below, func() { writeSection(t, b, element, k+"[]") })
		case f.Type == reflect.TypeFor[Tree]():
			preset = "none"
		case f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
			below = append(below, func() { writeSection(t, b, reflect.New(f.Type.Elem()).Elem(), k+".NAME") })
		case value.IsZero() && f.Type.Kind() == reflect.String || f.Type == reflect.TypeFor[Secret]():
			preset = "empty"
			if strings.HasSuffix(key, "[]") && !strings.Contains(doc, "Empty:") {
				preset = "required"
			}
		}
		if example := f.Tag.Get("example"); example != "" {
			doc += " Example: `" + example + "`."
		} else {
			require.True(t, isSection || f.Type.Kind() == reflect.Slice, "%s has no example", k)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, preset, strings.ReplaceAll(doc, "|", `\|`))
	}
	for _, write := range below {
		write()
	}
}

func TestTheDocumentationPageSaysWhatTheTypesSay(t *testing.T) {
	var b strings.Builder
	defaults, err := Default().YAML()
	require.NoError(t, err)
	fmt.Fprintf(&b, docsIntro, defaults)
	writeSection(t, &b, reflect.ValueOf(Default()).Elem(), "")
	golden(t, "../../docs/configuration.md", b.String())
}

// A reader copies examples: the file made of all of them is accepted.
func TestTheFileThatSetsEveryKeyToItsExampleIsAccepted(t *testing.T) {
	t.Setenv("KAFKA_PASSWORD", "x")
	dir := t.TempDir()
	for _, name := range []string{"ca.pem", "client.pem", "client.key", "clickhouse", "reader", "kafka-client", "token", "tls.crt", "tls.key", "callers.pem", "decide"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("sixteen letters."), 0o600))
	}
	// A mechanism has keys of its own, and a token comes from one place.
	oauth := map[string]string{"kafka.sasl.mechanism": SASLOAuthBearer, "kafka.sasl.username": "", "kafka.sasl.password": "", "kafka.sasl.aws_region": ""}
	byFile := maps.Clone(oauth)
	for _, name := range []string{"token_url", "client_id", "client_secret", "scope", "ca_file"} {
		byFile["kafka.sasl.oauth."+name] = ""
	}
	oauth["kafka.sasl.oauth.token_file"] = ""
	iam := map[string]string{"kafka.sasl.mechanism": SASLMSKIAM, "kafka.sasl.username": "", "kafka.sasl.password": "", "kafka.sasl.oauth": ""}
	for _, other := range []map[string]string{{"kafka.sasl.oauth": "", "kafka.sasl.aws_region": ""}, oauth, byFile, iam} {
		var b strings.Builder
		keys := 0
		var write func(ty reflect.Type, key, indent string)
		write = func(ty reflect.Type, key, indent string) {
			for f := range ty.Fields() {
				name, example := f.Tag.Get("yaml"), f.Tag.Get("example")
				if name == notInFile {
					continue
				}
				if instead, ok := other[dotted(key, name)]; ok {
					if example = instead; instead == "" {
						continue
					}
				}
				fmt.Fprintf(&b, "%s%s:", indent, name)
				switch {
				case example != "":
					keys++
					b.WriteString(" " + strings.NewReplacer("/etc/plumbline", dir, "/run/secrets", dir).Replace(example) + "\n")
				case f.Type.Kind() == reflect.Slice:
					b.WriteString("\n" + indent + "  -\n")
					write(f.Type.Elem(), dotted(key, name)+"[]", indent+"    ")
				default:
					b.WriteString("\n")
					write(f.Type, dotted(key, name), indent+"  ")
				}
			}
		}
		write(reflect.TypeFor[Config](), "", "")
		_, err := Parse("examples.yaml", []byte(b.String()), testForms)
		require.NoError(t, err)
		require.Greater(t, keys, 40)
	}
}
