package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestPolicySchema(t *testing.T) {
	s := newSite(t)
	var v map[string]any
	if err := json.Unmarshal([]byte(s.must(t, "", "policy", "schema")), &v); err != nil || v["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("%v %v", v["$schema"], err)
	}
	if out := s.must(t, "", "policy", "schema", "--help"); !strings.Contains(out, "# yaml-language-server: $schema=policy.schema.json") {
		t.Error(out)
	}
}
