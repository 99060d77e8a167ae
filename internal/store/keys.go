package store

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"
	"time"
)

// Key names one value. Only the functions below make keys; each says shape and
// life. The part in braces is the tag: Redis Cluster places by it, and keys of
// one tag may share a sequence.
type Key struct{ tag, name string }

// String returns the key as Redis knows it.
func (k Key) String() string { return "{" + k.tag + "}" + k.name }

// Lives that the store itself gives; the others come with the operation.
const (
	// lapsedFor is how long an index remembers a member after its deadline, so
	// that a sweeper that was away for a week still ends the session properly.
	lapsedFor = 7 * 24 * time.Hour
	// poolLife keeps a pool's leases and sticky addresses from its last use on.
	poolLife = 30 * 24 * time.Hour
	// enrolledLife keeps a user in Enrolled from what was last made for him on.
	enrolledLife = 20 * 365 * 24 * time.Hour
)

// shards is the number of tags sessions are spread over. A session's record and
// the history share a tag so that a state change and its history event are one
// atomic sequence; a tag for each session would need a second trip and could
// lose or double events in between. The number is part of the schema.
const shards = 16

// user folds letters because directories compare names without case: "Alice" and
// "alice" must share counters and used codes.
func user(name, rest string) Key { return Key{"user:" + escape(strings.ToLower(name)), rest} }

// UserFailures is {user:NAME}:fail, zset attempt → ms; life: the window.
func UserFailures(name string) Key { return user(name, ":fail") }

// UserStrikes is {user:NAME}:fail:strikes, zset attempt → ms; life: the memory.
func UserStrikes(name string) Key { return user(name, ":fail:strikes") }

// PairFailures is {user:NAME}:pair:SOURCE, zset attempt → ms; life: the window.
func PairFailures(name string, source netip.Prefix) Key {
	return user(name, ":pair:"+source.String())
}

// PairStrikes is {user:NAME}:pair:SOURCE:strikes, zset attempt → ms; life: the memory.
func PairStrikes(name string, source netip.Prefix) Key {
	return user(name, ":pair:"+source.String()+":strikes")
}

// PairGood is {user:NAME}:good:SOURCE, the last success in ms; life: how long a success counts.
func PairGood(name string, source netip.Prefix) Key {
	return user(name, ":good:"+source.String())
}

// CodeFailures is {user:NAME}:code, zset attempt → ms; life: the window.
func CodeFailures(name string) Key { return user(name, ":code") }

// CodeStrikes is {user:NAME}:code:strikes, zset attempt → ms; life: the memory.
func CodeStrikes(name string) Key { return user(name, ":code:strikes") }

// UserAsked is {user:NAME}:asked, zset attempt → ms, wrong passwords that a directory
// with a lockout of its own was asked for; life: that lockout's window.
func UserAsked(name string) Key { return user(name, ":asked") }

// UserPlaces is {user:NAME}:asking, zset attempt → deadline in ms, those that such a
// directory is being asked for; life: the last deadline.
func UserPlaces(name string) Key { return user(name, ":asking") }

// UserCeiling is {user:NAME}:ceiling, the directory's lockout as it was last told; life:
// given by lockout.
func UserCeiling(name string) Key { return user(name, ":ceiling") }

// UserTokens is {user:NAME}:tokens, JSON with sealed secrets; life: unlimited,
// an enrolment does not lapse.
func UserTokens(name string) Key { return user(name, ":tokens") }

// UserRecovery is {user:NAME}:recovery, JSON with keyed hashes of recovery codes; life:
// unlimited, as UserTokens.
func UserRecovery(name string) Key { return user(name, ":recovery") }

// UserRecoveryUsed is {user:NAME}:recovery:used, hash code → 1; life: as UserRecovery.
func UserRecoveryUsed(name string) Key { return user(name, ":recovery:used") }

// UserTickets is {user:NAME}:tickets, zset ticket → deadline in ms; life: the last
// deadline and lapsedFor.
func UserTickets(name string) Key { return user(name, ":tickets") }

// UserDeviceTickets is {user:NAME}:tickets:device, as UserTickets.
func UserDeviceTickets(name string) Key { return user(name, ":tickets:device") }

// EnrolTicket is {ticket:ID}:of, JSON with a keyed hash; life: the ticket's.
func EnrolTicket(id string) Key { return Key{"ticket:" + escape(id), ":of"} }

// EnrolTicketUse is {ticket:ID}:used, who used it; life: longer than any ticket's.
func EnrolTicketUse(id string) Key { return Key{"ticket:" + escape(id), ":used"} }

// Enrolled are {enrolled:NN}:users of all shards, zset user → deadline in ms: who has
// something for a second factor, or had; life: the last deadline and lapsedFor.
func Enrolled() []Key {
	ks := make([]Key, shards)
	for i := range ks {
		ks[i] = Key{fmt.Sprintf("enrolled:%02d", i), ":users"}
	}
	return ks
}

// EnrolledAs is the one of Enrolled that a user is in.
func EnrolledAs(name string) Key {
	h := fnv.New32a()
	h.Write([]byte(strings.ToLower(name)))
	return Enrolled()[h.Sum32()%shards]
}

// Known puts a user into Enrolled. All that makes something for a second factor says so
// first: what is not found there is never sealed anew.
func Known(name string) Seq {
	return Seq{&Enter{Key: EnrolledAs(name), Member: name, For: enrolledLife}}
}

// UserSteps is {user:NAME}:steps, hash token → last used step and drift; life: longer
// than any code is valid, given by mfa.
func UserSteps(name string) Key { return user(name, ":steps") }

// UserKeys is {user:NAME}:keys, JSON of the WebAuthn credentials; life: unlimited,
// as UserTokens.
func UserKeys(name string) Key { return user(name, ":keys") }

// UserCeremony is {user:NAME}:ceremony:CHALLENGE, who finished a WebAuthn ceremony;
// life: longer than the ceremony is open, given by webauthn.
func UserCeremony(name, challenge string) Key { return user(name, ":ceremony:"+escape(challenge)) }

// UserChange is {user:NAME}:change:DIALOGUE, what became of the leave to change a
// password in one login dialogue; life: as long as the leave, given by authz.
func UserChange(name, dialogue string) Key { return user(name, ":change:"+escape(dialogue)) }

// UserGrants is {user:NAME}:grants, JSON of the remembered factors; life: that of the
// longest, given by grant.
func UserGrants(name string) Key { return user(name, ":grants") }

// UserState is {user:NAME}:state:NONCE, who answered a challenge; life: longer than the
// challenge is open, given by authz.
func UserState(name, nonce string) Key { return user(name, ":state:"+escape(nonce)) }

// UserRetry is {user:NAME}:retry:PLACE, the attempt that was asked for a code there; life:
// as long as a dialogue may last, given by authz.
func UserRetry(name, place string) Key { return user(name, ":retry:"+escape(place)) }

// UserLive is {user:NAME}:live, zset session → deadline in ms; life: the last
// deadline and lapsedFor.
func UserLive(name string) Key { return user(name, ":live") }

// UserSince is {user:NAME}:since, zset session → when it was opened, in ms, and more when it
// has to go, see Admit; life: as UserLive.
func UserSince(name string) Key { return user(name, ":since") }

// UserUsed is {user:NAME}:used, hash of what all his sessions have used and how far those
// are that spoke last; life: given by session, from the last word on.
func UserUsed(name string) Key { return user(name, ":used") }

// DeviceKey is {device:ID}:key, JSON of the public key that a device signs its reports
// with; life: given by agent, from the last report on. IDs fold case.
func DeviceKey(id string) Key { return deviceKey(id, ":key") }

// DeviceSeq is {device:ID}:seq, hash → the number of the last report and when it came;
// life: as DeviceKey.
func DeviceSeq(id string) Key { return deviceKey(id, ":seq") }

// DeviceNonce is {device:ID}:nonce:NONCE, "1": a report came; life: longer than its time
// is believed.
func DeviceNonce(id, nonce string) Key { return deviceKey(id, ":nonce:"+escape(nonce)) }

// DeviceRate is {device:ID}:rate, zset report → ms; life: the window.
func DeviceRate(id string) Key { return deviceKey(id, ":rate") }

// DeviceRecords is {device:ID}:records, JSON of what each source says of a device; life:
// given by posture, from the last word on.
func DeviceRecords(id string) Key { return deviceKey(id, ":records") }

// UserDevices is {user:NAME}:devices, JSON of the devices that are the user's, with all
// that is known of them; life: as DeviceRecords.
func UserDevices(name string) Key { return user(name, ":devices") }

// DeviceName is {devname:NAME}:device, JSON of the device that has this name in the
// directory; life: as DeviceRecords.
func DeviceName(host string) Key {
	return Key{"devname:" + escape(strings.ToLower(host)), ":device"}
}

// Devices are {devices:NN}:ids of all shards, zset device → deadline in ms; life: the last
// deadline and lapsedFor.
func Devices() []Key {
	ks := make([]Key, shards)
	for i := range ks {
		ks[i] = Key{fmt.Sprintf("devices:%02d", i), ":ids"}
	}
	return ks
}

// DevicesOf is the one of Devices that a device is in.
func DevicesOf(id string) Key {
	h := fnv.New32a()
	h.Write([]byte(strings.ToLower(id)))
	return Devices()[h.Sum32()%shards]
}

func deviceKey(id, rest string) Key { return Key{"device:" + escape(strings.ToLower(id)), rest} }

// UserAgents is {user:NAME}:agents, zset device → deadline in ms, those that have a key;
// life: the last deadline and lapsedFor.
func UserAgents(name string) Key { return user(name, ":agents") }

// AgentSource is {src:PREFIX}:agent, zset request → ms, what devices sent from a source;
// life: the window.
func AgentSource(source netip.Prefix) Key { return Key{"src:" + source.String(), ":agent"} }

// PortalSession is {portal:HASH}:session, a visit to the portal, sealed; HASH is of the
// cookie, so that no key opens one. Life: the visit's idle time.
func PortalSession(hash string) Key { return Key{"portal:" + escape(hash), ":session"} }

// PortalName is {user:NAME}:portal, zset form → ms: what the portal was sent under a
// name by people who have proved nothing; life: the window.
func PortalName(name string) Key { return user(name, ":portal") }

// PortalUser is {user:NAME}:portal:proved, zset form → ms: the same by people who have
// proved the user's password; life: the window.
func PortalUser(name string) Key { return user(name, ":portal:proved") }

// PortalSource is {src:PREFIX}:portal, zset form → ms: what the portal was sent from a
// source by people who have proved nothing; life: the window.
func PortalSource(source netip.Prefix) Key { return Key{"src:" + source.String(), ":portal"} }

// SourceFailures is {src:PREFIX}:fail, zset attempt → ms; life: the window.
func SourceFailures(source netip.Prefix) Key {
	return Key{"src:" + source.String(), ":fail"}
}

// SourceStrikes is {src:PREFIX}:fail:strikes, zset attempt → ms; life: the memory.
func SourceStrikes(source netip.Prefix) Key {
	return Key{"src:" + source.String(), ":fail:strikes"}
}

// SourceUsers is {src:PREFIX}:users, zset user → ms, who failed from there; life: the
// window.
func SourceUsers(source netip.Prefix) Key { return Key{"src:" + source.String(), ":users"} }

// SourceSprays is {src:PREFIX}:users:strikes, zset user → ms; life: the memory.
func SourceSprays(source netip.Prefix) Key {
	return Key{"src:" + source.String(), ":users:strikes"}
}

// SprayUsers is {spray}:users, zset user → ms, who failed from anywhere; life: the
// window.
func SprayUsers() Key { return Key{"spray", ":users"} }

// Sprays is {spray}:users:strikes, zset user → ms; life: the memory.
func Sprays() Key { return Key{"spray", ":users:strikes"} }

// Locks is {locks}:now, zset lock → deadline in ms; life: the last deadline and what
// lockout gives.
func Locks() Key { return Key{"locks", ":now"} }

// LockTold is {locks}:told:LOCK, who told of it; life: as long as it lasts.
func LockTold(lock string) Key { return Key{"locks", ":told:" + escape(lock)} }

// Session is {sess:NN}:rec:ID, JSON; life: the deadline and lapsedFor.
func Session(id string) Key { return shard(id, ":rec:"+escape(id)) }

// SessionMarks is {sess:NN}:mark:ID, hash start|seq → mark; life: as Session.
func SessionMarks(id string) Key { return shard(id, ":mark:"+escape(id)) }

// History is {sess:NN}:history, the stream beside the session; bounded by
// length, life: as Append says.
func History(id string) Key { return shard(id, ":history") }

// Histories are the streams of all shards.
func Histories() []Key { return shardsOf(":history") }

func shardsOf(name string) []Key {
	ks := make([]Key, shards)
	for i := range ks {
		ks[i] = Key{fmt.Sprintf("sess:%02d", i), name}
	}
	return ks
}

func shard(id, name string) Key {
	h := fnv.New32a()
	h.Write([]byte(id))
	return Key{fmt.Sprintf("sess:%02d", h.Sum32()%shards), name}
}

// SessionWhy is {sess:NN}:why:ID, JSON, why somebody wished that a session ends, for its
// last event; life: as Wish.
func SessionWhy(id string) Key { return shard(id, ":why:"+escape(id)) }

// At are {sess:NN}:at:ADDRESS of all shards, zset session → deadline in ms, the sessions
// that have an address; life: the last deadline and an hour. They lie beside the sessions,
// so that a session and its address are one sequence, and who asks for an address asks all
// shards at once.
func At(a netip.Addr) []Key { return shardsOf(atAddr(a)) }

// SessionAt is the one of At that a session is in.
func SessionAt(id string, a netip.Addr) Key { return shard(id, atAddr(a)) }

func atAddr(a netip.Addr) string { return ":at:" + a.Unmap().String() }

// On are {sess:NN}:on:DEVICE of all shards, zset session → deadline in ms, the sessions
// that come from a device; life: as At. IDs fold case.
func On(device string) []Key { return shardsOf(onDevice(device)) }

// SessionOn is the one of On that a session is in.
func SessionOn(id, device string) Key { return shard(id, onDevice(device)) }

func onDevice(device string) string { return ":on:" + escape(strings.ToLower(device)) }

// NodeLive is {node:ID}:live, zset session → deadline in ms; life: the last
// deadline and lapsedFor.
func NodeLive(node string) Key { return Key{"node:" + escape(node), ":live"} }

// Nodes is {nodes}:seen, zset node → deadline in ms; life: as NodeLive.
func Nodes() Key { return Key{"nodes", ":seen"} }

// NodeStatus is {node:ID}:status, JSON, what a node has said of itself last; life: given
// by nodes.
func NodeStatus(node string) Key { return Key{"node:" + escape(node), ":status"} }

// NodeDrain is {node:ID}:drain, JSON, the wish that a node drains; life: given by nodes.
func NodeDrain(node string) Key { return Key{"node:" + escape(node), ":drain"} }

// KnownNodes is {nodes}:known, zset node → deadline in ms, those with a NodeStatus; life:
// the last deadline and lapsedFor.
func KnownNodes() Key { return Key{"nodes", ":known"} }

// FollowTurn is {follow}:turn, the service that looks after changes in the
// directories for all; life: given by follow.
func FollowTurn() Key { return Key{"follow", ":turn"} }

// ComputersTurn is {computers}:turn, the service that reads a directory's computers for
// all; life: given by computers.
func ComputersTurn() Key { return Key{"computers", ":turn"} }

// Wishes are {sess:NN}:wishes of all shards, zset wish → deadline in ms; life: the last
// deadline and lapsedFor. What is wished of a session, and when it must be looked at, lies
// beside it: a change of the session and what follows from it are one sequence.
func Wishes() []Key { return shardsOf(":wishes") }

// WishesOf is the one of Wishes that a session's are in.
func WishesOf(id string) Key { return shard(id, ":wishes") }

// Wish is {sess:NN}:wish:NAME, JSON, of what is wished of a session under a name; life: the
// wish's deadline in Wishes.
func Wish(id, name string) Key { return shard(id, ":wish:"+escape(name)) }

// Held are {sess:NN}:held of all shards, zset session → when it must have left quarantine,
// in ms; life: as Wishes.
func Held() []Key { return shardsOf(":held") }

// HeldAs is the one of Held that a session is in.
func HeldAs(id string) Key { return shard(id, ":held") }

// Due are {sess:NN}:due of all shards, zset session → when it must be looked at again, in
// ms; life: as Wishes.
func Due() []Key { return shardsOf(":due") }

// DueAs is the one of Due that a session is in.
func DueAs(id string) Key { return shard(id, ":due") }

// DueTaken is {sess:NN}:due:taken:ID, the service that looks at a session that is due;
// life: given by session.
func DueTaken(id string) Key { return shard(id, ":due:taken:"+escape(id)) }

// Reviews is {review}:users, zset user → when he may be taken, in ms: whose sessions are
// to be looked at again; life: lapsedFor from then on.
func Reviews() Key { return Key{"review", ":users"} }

// Review is {review}:what:USER, JSON, why and since when; life: as Reviews.
func Review(user string) Key { return Key{"review", ":what:" + escape(user)} }

// ReviewTaken is {review}:taken:USER, the service that looks at his sessions; life: given
// by session.
func ReviewTaken(user string) Key { return Key{"review", ":taken:" + escape(user)} }

// PolicyState is {policy}:state, JSON, which policy is in force for all services; life:
// unlimited, as that of the policies below.
func PolicyState() Key { return Key{"policy", ":state"} }

// PolicyKept is {policy}:kept, JSON, the list of versions that can be gone back to.
func PolicyKept() Key { return Key{"policy", ":kept"} }

// PolicyVersion is {policy}:version:VERSION, JSON, the files of a policy with their
// signature; life: until it leaves PolicyKept.
func PolicyVersion(version string) Key { return Key{"policy", ":version:" + escape(version)} }

// PolicyHistory is {policy}:history, the stream of who activated what; bounded by length.
func PolicyHistory() Key { return Key{"policy", ":history"} }

// PolicyServices is {policy}:services, zset service → deadline in ms: who is there; life:
// given by activation.
func PolicyServices() Key { return Key{"policy", ":services"} }

// PolicyService is {policy}:service:NAME, JSON, which policy a service has in force; life:
// as in PolicyServices.
func PolicyService(name string) Key { return Key{"policy", ":service:" + escape(name)} }

// PolicyTurn is {policy}:turn, the service that looks for a changed policy file for all;
// life: given by activation.
func PolicyTurn() Key { return Key{"policy", ":turn"} }

// PolicySource is {policy}:source:NODE, what that node has found in its policy file last;
// life: given by activation.
func PolicySource(node string) Key { return Key{"policy", ":source:" + escape(node)} }

// A pool has four keys, {pool:NAME} and :until, zset address → deadline or time
// of release in ms; :who, hash address → holder NUL owner; :of, hash hHOLDER and
// oOWNER → address; :next, hash SHAPE:FIRST → next address never used, for each
// range of each shape the pool has had. Life of all: poolLife.
func poolKeys(pool string) []Key {
	tag := "pool:" + escape(pool)
	return []Key{{tag, ":until"}, {tag, ":who"}, {tag, ":of"}, {tag, ":next"}}
}

// SchemaVersion is {schema}:version, a number, see schema.go; life: unlimited.
func SchemaVersion() Key { return Key{"schema", ":version"} }

// schemaTurn is {schema}:turn, the process that brings the schema forward; life: turnLife.
func schemaTurn() Key { return Key{"schema", ":turn"} }

// probes are {check:NN}:probe, "", what an inspection writes, on every server; life: a minute.
func probes() []Key {
	ks := make([]Key, shards)
	for i := range ks {
		ks[i] = Key{fmt.Sprintf("check:%02d", i), ":probe"}
	}
	return ks
}

// acknowledged is {TAG}:ack beside any key, "": a write for WAIT to wait for; life: ackLife.
func acknowledged(k Key) Key { return Key{k.tag, ":ack"} }

// sub is the key of one part of a key, in bbolt only.
func (k Key) sub(part string) Key { return Key{k.tag, k.name + "\x00" + part} }

// escape makes a name from outside safe inside a key: braces would move the tag,
// a colon could meet another shape, NUL separates in bbolt.
func escape(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		plain = plain && !special(s[i])
	}
	if plain {
		return s
	}
	b := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); i++ {
		if special(s[i]) {
			b = fmt.Appendf(b, "%%%02x", s[i])
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func special(c byte) bool {
	return c <= ' ' || c == 0x7f || c == '{' || c == '}' || c == '%' || c == ':'
}
