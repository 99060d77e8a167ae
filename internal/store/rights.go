package store

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// called are the commands of script.lua: Redis asks for the right to each.
var called = regexp.MustCompile(`call\('([A-Z]+)'`)

// aroundScript are the commands that we send ourselves: the script, waiting for replicas,
// the schema's version and its migrations, Watch, what go-redis asks for a connection and
// for a cluster's map, and what an inspection looks at.
var aroundScript = []string{
	"command", "evalsha", "script|load", "wait", "scan", "expire", "subscribe", "unsubscribe", "ping",
	"cluster|slots", "asking",
	"info", "cluster|info", "cluster|nodes",
}

// needed are all commands, in the form that ACL rules take.
func needed() []string {
	list := slices.Clone(aroundScript)
	for _, m := range called.FindAllStringSubmatch(scriptSource, -1) {
		list = append(list, strings.ToLower(m[1]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// anyKeyRule is all keys of ours, and none of others.
const anyKeyRule = "~{*"

// ACLRule is the least that Redis must allow the user of a store, as ACL SETUSER and a line
// "user NAME on …" of an ACL file take it. The password is put before it.
func ACLRule() string {
	return "resetkeys " + anyKeyRule + " resetchannels &" + channel("*") + " -@all +" + strings.Join(needed(), " +")
}

// tooMuch are commands that nobody needs who only works with the store, and that lose it or
// show all of it.
var tooMuch = []string{"flushall", "flushdb", "keys", "config|set", "config|get", "debug", "shutdown", "acl|setuser", "replicaof", "monitor", "migrate", "swapdb", "module|load"}

// mayScript answers, for each list of a count and so many words, whether we may do it.
var mayScript = redis.NewScript(`
local out, i = {}, 1
while i <= #ARGV do
  local n, cmd = tonumber(ARGV[i]), {}
  for j = 1, n do cmd[j] = ARGV[i + j] end
  i = i + 1 + n
  local ok, may = pcall(redis.acl_check_cmd, unpack(cmd))
  if not ok then out[#out + 1] = -1 elseif may then out[#out + 1] = 1 else out[#out + 1] = 0 end
end
return out`)

// rights are what a user lacks and what he has too much of.
type rights struct{ lacks, tooMuch []string }

// askRights asks a server of version 7 or later.
func askRights(ctx context.Context, c *redis.Client) (rights, error) {
	type question struct {
		say  string
		much bool
		cmd  []any
	}
	var qs []question
	for _, name := range needed() {
		qs = append(qs, question{say: "+" + name, cmd: sample(name)})
	}
	// One key of every kind of tag. None but ours begins with a brace.
	for _, k := range []Key{UserLive("x"), Session("x"), NodeLive("x"), SprayUsers(), PolicyState(), SchemaVersion(), poolKeys("x")[0], SourceFailures(anySource)} {
		qs = append(qs, question{say: anyKeyRule, cmd: []any{"set", k.String(), "1"}})
	}
	qs = append(qs, question{say: "&" + channel("*"), cmd: []any{"publish", channel("x"), "1"}})
	for _, name := range tooMuch {
		qs = append(qs, question{say: name, much: true, cmd: sample(name)})
	}
	var args []any
	for _, q := range qs {
		args = append(append(args, len(q.cmd)), q.cmd...)
	}
	// Not Run, which would fall back to EVAL: that is no right of ours.
	if err := mayScript.Load(ctx, c).Err(); err != nil {
		return rights{}, err
	}
	may, err := mayScript.EvalSha(ctx, c, nil, args...).Int64Slice()
	if err != nil {
		return rights{}, err
	}
	if len(may) != len(qs) {
		return rights{}, fmt.Errorf("%d answers to %d questions", len(may), len(qs))
	}
	keys := true // without the right to our keys nothing that takes one is allowed
	for i, q := range qs {
		keys = keys && (q.say != anyKeyRule || may[i] == 1)
	}
	var r rights
	for i, q := range qs {
		switch {
		case !q.much && !keys && q.say != anyKeyRule && slices.Contains(q.cmd, any(SchemaVersion().String())):
		case q.much && may[i] == 1:
			r.tooMuch = append(r.tooMuch, strings.ReplaceAll(q.say, "|", " "))
		case !q.much && may[i] != 1 && !slices.Contains(r.lacks, q.say):
			r.lacks = append(r.lacks, q.say)
		}
	}
	return r, nil
}

// sample is a command that a rule would allow, with a key of ours where it takes one.
func sample(name string) []any {
	key := SchemaVersion().String()
	switch name {
	case "del", "exists":
		return []any{name, key}
	case "command":
		return []any{name}
	case "evalsha":
		return []any{name, "0", "1", key}
	case "subscribe", "unsubscribe":
		return []any{name, channel("x")}
	case "publish":
		return []any{name, channel("x"), "1"}
	case "wait", "config|get", "config|set", "script|load", "cluster|slots", "cluster|info", "cluster|nodes",
		"acl|setuser", "module|load", "debug", "replicaof", "swapdb", "ping", "info", "asking", "scan", "time", "keys",
		"flushall", "flushdb", "shutdown", "monitor":
		words := strings.Split(name, "|")
		cmd := []any{words[0]}
		for _, w := range words[1:] {
			cmd = append(cmd, w)
		}
		return append(cmd, "1", "1")
	case "migrate":
		return []any{name, "127.0.0.1", "1", key, "0", "1"}
	}
	return []any{name, key, "1", "1"}
}
