package portal

import (
	"slices"

	"postern/authz/posture/push"
	"postern/internal/report"
)

// access is who may see a page. The zero value is everybody.
type access uint8

const (
	anybody   access = iota
	enrolling        // signed in at any level
	signedIn         // with a second factor
)

// route is one page. A path is exact: nothing is cleaned, decoded twice or guessed.
type route struct {
	name   string // a label of metrics and of the access log
	path   string
	access access
	get    func(*visitor)
	post   func(*visitor)
	body   int64
	agent  bool // for devices: neither cookies nor forms, and JSON
}

// routes is every page but those with something behind a slash: /s/TOKEN and
// /static/NAME. A page of another factor is one more line here.
var routes []route

func init() { // the pages lead to one another: a variable would be a cycle
	routes = []route{
		{name: "home", path: "/", get: (*visitor).home},
		{name: "sign_in", path: "/sign-in", get: (*visitor).signInForm, post: (*visitor).signIn},
		{name: "sign_out", path: "/sign-out", get: (*visitor).toHome, post: (*visitor).signOut},
		{name: "language", path: "/language", get: (*visitor).toHome, post: (*visitor).setLanguage},

		{name: "step_up", path: "/step-up", get: (*visitor).stepUpPage, post: (*visitor).stepUp},
		{name: "done", path: "/done", get: (*visitor).donePage},

		{name: "enrol", path: "/enrol", get: (*visitor).enrolPage, post: (*visitor).enrolBegin},
		{name: "enrol_ticket", path: "/enrol/ticket", get: (*visitor).toEnrol, post: (*visitor).enrolTicket},
		{name: "enrol_device", path: "/enrol/device", access: enrolling, get: (*visitor).devicePage, post: (*visitor).deviceConfirm},
		{name: "enrol_cancel", path: "/enrol/cancel", access: enrolling, get: (*visitor).toEnrol, post: (*visitor).enrolCancel},
		{name: "enrol_done", path: "/enrol/done", access: enrolling, get: (*visitor).finishPage},

		{name: "recovery", path: "/recovery", access: enrolling, get: (*visitor).recoveryPage, post: (*visitor).recoverySaved},
		{name: "recovery_file", path: "/recovery/codes.txt", access: enrolling, get: (*visitor).recoveryFile},

		{name: "security", path: "/security", access: signedIn, get: (*visitor).securityPage},
		{name: "security_again", path: "/again", access: signedIn, get: (*visitor).againPage, post: (*visitor).again},
		{name: "security_remove", path: "/security/remove", access: signedIn, get: (*visitor).removePage, post: (*visitor).remove},
		{name: "security_recovery", path: "/security/recovery", access: signedIn, get: (*visitor).toSecurity, post: (*visitor).newRecovery},
		{name: "security_forget", path: "/security/forget", access: signedIn, get: (*visitor).toSecurity, post: (*visitor).forget},

		{name: "key_step_up", path: "/step-up/key", get: (*visitor).toHome, post: (*visitor).stepUpKey, body: maxKeyBody},
		{name: "key_sign_in", path: "/sign-in/key", get: (*visitor).toHome, post: (*visitor).signInKey, body: maxKeyBody},
		{name: "key_again", path: "/again/key", access: signedIn, get: (*visitor).againPage, post: (*visitor).againKey, body: maxKeyBody},
		{name: "key_add", path: "/security/key", access: signedIn, get: (*visitor).addKeyPage, post: (*visitor).addKey, body: maxKeyBody},

		{name: "computers", path: "/computers", access: signedIn, get: (*visitor).computersPage, post: (*visitor).computerTicket},
		{name: "computer_remove", path: "/computers/remove", access: signedIn, get: (*visitor).toComputers, post: (*visitor).computerRemove},
		{name: "agent_enrol", path: report.EnrolPath, agent: true, get: (*visitor).toHome, post: (*visitor).agentEnrol},
		{name: "agent_report", path: report.ReportPath, agent: true, get: (*visitor).toHome, post: (*visitor).agentReport},
		{name: "push", path: push.Path, agent: true, get: (*visitor).toHome, post: (*visitor).push, body: push.MaxBody},

		{name: "disconnect", path: "/disconnect", access: signedIn, get: (*visitor).toHome, post: (*visitor).disconnect},

		{name: "health", path: "/health", get: (*visitor).healthPage},
		{name: "robots", path: "/robots.txt", get: (*visitor).robots},
		{name: "icon", path: "/favicon.ico", get: (*visitor).favicon},
	}
}

// The pages with something behind a slash, and none at all.
var (
	visitRoute  = route{name: "visit", get: (*visitor).arrive}
	staticRoute = route{name: "static", get: (*visitor).static}
	noRoute     = route{name: "none"}
)

// routeNames are for metrics.
func routeNames() []string {
	names := []string{visitRoute.name, staticRoute.name, noRoute.name}
	for _, r := range routes {
		names = append(names, r.name)
	}
	slices.Sort(names)
	return names
}
