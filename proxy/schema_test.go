package proxy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"pannier/proxy"
)

// The schema that editors check by takes what the sidecar takes, and refuses what it can see is
// wrong.
func TestConfigSchema(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(proxy.ConfigSchema())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range proxy.Settings() {
		taken := 0
		for _, value := range []string{
			"17", "-1.5", "17s", "1h2m3.5s", "true", "text", "[orders=poll]", "[orders]", "[]", "[1]", "{}", "''", "null", "1.h", "-0", "+.5h",
			"{orders: {paused: true}}", "{orders: {max_requests: 0}}", "{'*': {backoff: {base: 1ms, max: 2s}, split: [{subset: a, weight: 3}]}}",
			"{orders: {paussed: true}}", "{'*': {split: [{subset: a}]}}", "{'*': {breaker: {consecutive: true}}}",
			"{a.example: [orders]}", "{a.example: orders}", "[{from: [a], to: [b]}]", "[{from: [a]}]", "[{from: [a], to: [b], types: [t], tipes: []}]",
		} {
			line := s.Key + ": " + value + "\n"
			o := proxy.DefaultOptions()
			read := proxy.ParseConfig("c.yaml", []byte(line), &o)
			asJSON, err := yaml.YAMLToJSON([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			instance, err := jsonschema.UnmarshalJSON(strings.NewReader(string(asJSON)))
			if err != nil {
				t.Fatal(err)
			}
			fits := schema.Validate(instance)
			if read == nil {
				taken++
				if fits != nil {
					t.Errorf("%s is read, and the schema refuses it: %v", line, fits)
				}
			} else if fits == nil && strings.Contains(read.Error(), ": got ") {
				t.Errorf("%s is of the wrong type (%v), and the schema takes it", line, read)
			}
		}
		if taken == 0 {
			t.Errorf("no value of %s was tried that is read", s.Key)
		}
	}
	for _, wrong := range []string{`{"zonne":"a"}`, `{"insecure-peer":true}`, `{"policies":{"*":{"paussed":true}}}`, `{"allow":[{"from":["a"]}]}`} {
		instance, _ := jsonschema.UnmarshalJSON(strings.NewReader(wrong))
		if schema.Validate(instance) == nil {
			t.Errorf("the schema takes %s", wrong)
		}
	}
}
