package api_test

import (
	"fmt"
	"strings"
	"testing"
)

// levels is a schema of definitions each of which is made of the next.
func levels(n int, each string) string {
	var b strings.Builder
	b.WriteString(`{"$ref":"#/$defs/l0","$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"l%d":%s,`, i, strings.ReplaceAll(each, "NEXT", fmt.Sprintf(`{"$ref":"#/$defs/l%d"}`, i+1)))
	}
	fmt.Fprintf(&b, `"l%d":{"type":"object"}}}`, n)
	return b.String()
}

// many are n items of a list, each with its number where there is an N.
func many(n int, item string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = strings.ReplaceAll(item, "N", fmt.Sprint(i))
	}
	return strings.Join(items, ",")
}

func kept(mode, schema string) string {
	return `{"semantic_type":"a.b.c.v1","compatibility_mode":"` + mode + `","schema_json":` + schema + `}`
}

func asking(form string) string {
	return `{"intent_type":"ask.v1","to_agent":"b","human_task":{"title":"T","form_schema":` + form + `}}`
}

// A few lines of schema must not be hours of work.
func TestSchemaThatMultipliesIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const both = `{"allOf":[NEXT,NEXT]}`
	for name, c := range map[string]struct{ schema, why string }{
		"all of":         {levels(60, both), "unfold to more than"},
		"any of":         {levels(60, `{"anyOf":[NEXT,NEXT]}`), "unfold to more than"},
		"not":            {levels(60, `{"not":{"oneOf":[NEXT,NEXT]}}`), "unfold to more than"},
		"if":             {levels(60, `{"if":NEXT,"then":NEXT}`), "unfold to more than"},
		"dependent":      {levels(60, `{"dependentSchemas":{"a":NEXT,"b":NEXT}}`), "unfold to more than"},
		"draft 7":        {`{"$schema":"http://json-schema.org/draft-07/schema#",` + levels(60, both)[1:], "unfold to more than"},
		"in a member":    {strings.Replace(levels(60, both), `"$ref":"#/$defs/l0"`, `"properties":{"a":{"$ref":"#/$defs/l0"}}`, 1), "unfold to more than"},
		"a chain":        {levels(300, `{"allOf":[NEXT]}`), "one inside another"},
		"itself":         {`{"$ref":"#"}`, "refers to itself"},
		"itself, in two": {`{"properties":{"p":{"$ref":"#/$defs/a"}},"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{}]},"b":{"$ref":"#/$defs/a"}}}`, "refers to itself"},
		"large pattern":  {`{"pattern":"(a?b?c?d?e?f?){1000}"}`, "repeats too much"},
		"many patterns":  {`{"properties":{` + many(60, `"N":{"pattern":"Na{900}"}`) + `}}`, "repeats too much"},
		"many schemas":   {`{"allOf":[` + many(2501, "{}") + `]}`, "objects and booleans"},
	} {
		for field, a := range map[string]*answer{
			"/schema_json":            w.post("/v1/schemas", kept("strict", c.schema)),
			"/human_task/form_schema": w.post("/v1/intents", asking(c.schema)),
		} {
			a.refused(422, "schema_invalid")
			if why := fmt.Sprint(a.at("error.details").(map[string]any)[field]); !strings.Contains(why, c.why) {
				t.Errorf("%s: %s: %q, want that it says %q", name, field, why, c.why)
			}
		}
	}
}

// What multiplies only with the value is stopped there: by a count, not a clock.
func TestValueThatMultipliesIsRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	deep := strings.Repeat(`{"a":`, 50) + `{}` + strings.Repeat(`}`, 50)
	long := `"` + strings.Repeat("a", 2_500) + "N" + `"`
	// What is found while one looks, of which nothing else knows.
	const anchored = `{"$id":"pannier://x/","$ref":"y","$defs":{
		"bomb":{"$dynamicAnchor":"n","properties":{"a":{"allOf":[{"$dynamicRef":"#n"},{"$dynamicRef":"#n"}]}}},
		"y":{"$id":"y","properties":{"a":{"$dynamicRef":"#n"}},"$defs":{"n":{"$dynamicAnchor":"n"}}}}}`
	const twice = `{"properties":{"a":{"DRAW":[{"$ref":"#"},{"$ref":"#"}]}}}`
	for name, c := range map[string]struct{ schema, value string }{
		"all of":           {strings.Replace(twice, "DRAW", "allOf", 1), deep},
		"one of":           {strings.Replace(twice, "DRAW", "oneOf", 1), deep},
		"below not":        {`{"not":{"not":` + strings.ReplaceAll(strings.Replace(twice, "DRAW", "allOf", 1), `"#"`, `"#/not/not"`) + `}}`, deep},
		"dynamic":          {anchored, deep},
		"recursive":        {`{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"properties":{"a":{"allOf":[{"$recursiveRef":"#"},{"$recursiveRef":"#"}]}}}`, deep},
		"members":          {`{"properties":{"a":{"allOf":[` + many(500, `{"additionalProperties":{"type":"number"}}`) + `]}}}`, `{"a":{` + many(3000, `"N":1`) + `}}`},
		"items":            {`{"properties":{"a":{"allOf":[` + many(500, `{"items":{"type":"number"}}`) + `]}}}`, `{"a":[` + many(5000, `1`) + `]}`},
		"names":            {`{"allOf":[` + many(500, `{"propertyNames":{"maxLength":9}}`) + `]}`, `{` + many(3000, `"N":1`) + `}`},
		"unique":           {`{"properties":{"a":{"allOf":[` + many(500, `{"uniqueItems":true}`) + `]}}}`, `{"a":[` + many(8000, `N`) + `]}`},
		"enum of numbers":  {`{"properties":{"a":{"items":{"enum":[` + many(8000, `1e999`) + `]}}}}`, `{"a":[` + many(1000, `1e998`) + `]}`},
		"multiples":        {`{"properties":{"a":{"items":{"allOf":[` + many(500, `{"multipleOf":1e-999}`) + `]}}}}`, `{"a":[` + many(1000, `1e999`) + `]}`},
		"a pattern":        {`{"properties":{"a":{"items":{"pattern":"(a?){1000}b"}}}}`, `{"a":[` + many(20, long) + `]}`},
		"names by pattern": {`{"patternProperties":{"(a?){1000}b":{}}}`, `{` + strings.ReplaceAll(many(20, long), `",`, `":1,`) + `:1}`},
		"it is a pattern":  {`{"properties":{"a":{"items":{"format":"regex"}}}}`, `{"a":[` + many(1000, `"(a?){900}"`) + `]}`},
	} {
		w.post("/v1/schemas", kept("strict", c.schema)).want(200)
		a := w.post("/v1/agents/b/intents/a.b.c.v1", c.value).refused(422, "schema_invalid")
		if !strings.Contains(string(a.raw), "takes too much work") {
			t.Errorf("%s: %.300s", name, a.raw)
		}
		w.post("/v1/agents/b/intents/a.b.c.v1", `{}`).want(200) // it works on
	}
	// Who only warns takes it.
	w.post("/v1/schemas", kept("warn", strings.Replace(twice, "DRAW", "allOf", 1))).want(200)
	w.post("/v1/agents/b/intents/a.b.c.v1", deep).want(200)
}

// A person's answer is held to the form as a payload to its schema, and a task whose form
// cannot be filled can still be refused.
func TestFormThatMultipliesCanBeRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.post("/v1/intents", asking(`{"properties":{"a":{"allOf":[{"$ref":"#"},{"$ref":"#"}]}}}`)).want(200).text("intent_id")
	deep := strings.Repeat(`{"a":`, 50) + `{}` + strings.Repeat(`}`, 50)
	a := w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved","data":`+deep+`}}`).refused(422, "schema_invalid")
	if why := fmt.Sprint(a.at("error.details").(map[string]any)["/task_result/data"]); !strings.Contains(why, "takes too much work") {
		t.Errorf("%s", a.raw)
	}
	w.post("/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"rejected","data":`+deep+`}}`).want(200)
}

// What people write is none of that.
func TestOrdinarySchemasAreTaken(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const (
		tree     = `{"type":"object","required":["value"],"properties":{"value":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#"}}}}`
		formula  = `{"oneOf":[{"type":"object","properties":{"op":{"enum":["add","mul"]},"a":{"$ref":"#"},"b":{"$ref":"#"}},"required":["op","a","b"]},{"type":"object","properties":{"n":{"type":"number"}},"required":["n"],"additionalProperties":false}]}`
		dynamic  = `{"$id":"pannier://t/strict","$dynamicAnchor":"node","$ref":"tree","unevaluatedProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node","type":"object","properties":{"data":true,"children":{"type":"array","items":{"$dynamicRef":"#node"}}}}}}`
		recursed = `{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"type":"object","properties":{"a":{"$recursiveRef":"#"}}}`
		metas    = `{"properties":{"s":{"$ref":"https://json-schema.org/draft/2020-12/schema"}}}`
	)
	countries := `{"items":{"type":"object","properties":{"country":{"enum":[` + many(250, `"cN"`) + `]},"zip":{"type":"string","pattern":"^[0-9]{3,10}$"},"name":{"pattern":"^\\p{L}{1,100}$"},"mail":{"format":"email","maxLength":200}},"patternProperties":{"^x-":{"type":"string"}}}}`
	nested := strings.Repeat(`{"op":"add","a":{"n":1},"b":`, 8) + `{"n":2}` + strings.Repeat(`}`, 8)
	for name, c := range map[string]struct{ schema, good, bad, where string }{
		"tree":      {tree, `{"value":1,"children":[` + many(100, `{"value":N,"children":[{"value":2}]}`) + `]}`, `{"value":1,"children":[{"value":"x"}]}`, "/children/0/value"},
		"formula":   {formula, nested, `{"op":"sub"}`, "/op"},
		"dynamic":   {dynamic, `{"data":1,"children":[{"data":2}]}`, `{"children":[{"daat":2}]}`, "/children/0/daat"},
		"recursive": {recursed, `{"a":{"a":{}}}`, `{"a":{"a":1}}`, "/a/a"},
		"meta":      {metas, `{"s":` + tree + `}`, `{"s":{"type":7}}`, "/s/type"},
		"rows":      {`{"properties":{"rows":` + countries + `}}`, `{"rows":[` + many(500, `{"country":"c249","zip":"12345","name":"Ånn","mail":"a@b.example","x-a":"b"}`) + `]}`, `{"rows":[{"zip":"x"}]}`, "/rows/0/zip"},
		"draft 4":   {`{"$schema":"http://json-schema.org/draft-04/schema#","properties":{"a":{"$ref":"#/definitions/a"}},"definitions":{"a":{"type":"string","maxLength":3}}}`, `{"a":"abc"}`, `{"a":"abcd"}`, "/a"},
		"unique":    {`{"properties":{"a":{"uniqueItems":true}}}`, `{"a":[` + many(5000, `N`) + `]}`, `{"a":[1,1.0]}`, "/a"},
	} {
		w.post("/v1/schemas", kept("strict", c.schema)).want(200)
		w.post("/v1/agents/b/intents/a.b.c.v1", c.good).want(200)
		a := w.post("/v1/agents/b/intents/a.b.c.v1", c.bad).refused(422, "schema_invalid")
		if a.at("error.details").(map[string]any)[c.where] == nil {
			t.Errorf("%s: %s is not named: %s", name, c.where, a.raw)
		}
	}
}
