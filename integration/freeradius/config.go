package freeradius

import (
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// radiusd is the configuration, in one file. Debian's own tree is not needed, but for
// the dictionaries.
var radiusd = template.Must(template.New("radiusd.conf").Parse(`
prefix = /usr
raddbdir = {{.Dir}}
confdir = {{.Dir}}
run_dir = {{.Dir}}
logdir = {{.Dir}}
max_request_time = 10
cleanup_delay = 5
max_requests = 4096
hostname_lookups = no
proxy_requests = no
log {
	destination = stdout
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = yes
}
thread pool {
	start_servers = 4
	max_servers = 4
	min_spare_servers = 1
	max_spare_servers = 4
	max_requests_per_server = 0
	auto_limit_acct = no
}
client postern {
	ipaddr = 127.0.0.1
	secret = "{{.Secret}}"
	require_message_authenticator = yes
}
modules {
	pap {
	}
	mschap {
		use_mppe = {{if .NoMPPE}}no{{else}}yes{{end}}
		require_encryption = yes
		require_strong = yes
		# A Windows peer leaves LAB\ out of what it hashes.
		with_ntdomain_hack = yes
		allow_retry = no
	}
	files {
		filename = {{.Dir}}/users
		key = "%{tolower:%{%{Stripped-User-Name}:-%{User-Name}}}"
	}
	expr {
	}
	always ok {
		rcode = ok
	}
{{- if .AcctPort}}
	detail {
		filename = {{.Dir}}/detail
		permissions = 0600
	}
{{- end}}
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = {{.Port}}
	}
{{- if .AcctPort}}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = {{.AcctPort}}
	}
{{- end}}
{{- if .TLSPort}}
	listen {
		type = auth
		proto = tcp
		ipaddr = 127.0.0.1
		port = {{.TLSPort}}
		virtual_server = default
		clients = radsec
		limit {
			max_connections = 16
			lifetime = 0
			idle_timeout = 0
		}
		tls {
			private_key_file = {{.Dir}}/server.key
			certificate_file = {{.Dir}}/server.pem
			ca_file = {{.Dir}}/ca.pem
			require_client_cert = yes
			tls_min_version = "1.2"
			tls_max_version = "1.3"
			fragment_size = 8192
			cache {
				enable = no
			}
		}
	}
{{- end}}
	authorize {
{{- if .KnowsCodes}}
		if (&User-Name =~ /^(.+)\+[0-9]{6,8}(@.+)?$/) {
			update request {
				&Stripped-User-Name := "%{1}%{2}"
			}
		}
{{- end}}
		if ("%{%{Stripped-User-Name}:-%{User-Name}}" =~ /^[^\\]+\\(.+)$/) {
			update request {
				&Stripped-User-Name := "%{1}"
			}
		}
		elsif ("%{%{Stripped-User-Name}:-%{User-Name}}" =~ /^(.+)@lab\.example$/) {
			update request {
				&Stripped-User-Name := "%{1}"
			}
		}
		mschap
		files
		pap
		Autz-Type Status-Server {
			update reply {
				&Message-Authenticator := 0x00
			}
			ok
		}
	}
{{- if .AcctPort}}
	accounting {
		detail
	}
{{- end}}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
{{- if not .Unsigned}}
	post-auth {
		update reply {
			&Message-Authenticator := 0x00
		}
		Post-Auth-Type REJECT {
			update reply {
				&Message-Authenticator := 0x00
			}
		}
		Post-Auth-Type Challenge {
			update reply {
				&Message-Authenticator := 0x00
			}
		}
	}
{{- end}}
}
{{- if .TLSPort}}
clients radsec {
	client postern {
		ipaddr = 127.0.0.1
		proto = tls
		secret = radsec
		require_message_authenticator = yes
	}
}
{{- end}}
`))

// write makes the configuration tree.
func (s *Server) write() error {
	var conf strings.Builder
	if err := radiusd.Execute(&conf, s); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"radiusd.conf": conf.String(),
		"users":        usersFile(),
		"dictionary":   "# nothing of our own\n",
	} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
