package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz"
	"postern/authz/directory"
	"postern/authz/mfa"
	"postern/authz/posture"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/geo"
	"postern/internal/seal"
	"postern/internal/store"
	"postern/policy"
)

// suppose are the flags of `policy explain`: a login that nobody has tried.
type suppose struct {
	user, source, at string
	groups           []string
	nas, nasAddress  string
	foreign          bool
	tunnel           string
	device           string
	client, version  string
	key, factor      string
	country          string
	asn              uint32
}

func policyExplain(c *cli) *cobra.Command {
	var s suppose
	cmd := &cobra.Command{
		Use:   "explain --user NAME --source ADDRESS [FILE]",
		Short: "Say what a policy would decide of a login, and why",
		Long: "Ask a policy about a login that nobody has tried, with what the directories know of the user now, and where the store\n" +
			"can be opened, with what is known of the device and what the lockout shield has counted. Passwords are not asked for.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.supposed(cmd.Context(), &s, args) },
	}
	f := cmd.Flags()
	f.StringVar(&s.user, "user", "", "`NAME` as it would be typed, with the tag of a device where that is said so")
	f.StringVar(&s.source, "source", "", "`ADDRESS` that the client would come from")
	f.StringVar(&s.at, "at", "", "`TIME` of the login (2026-11-23T22:00:00Z, '2026-11-23 22:00'); absent: now")
	f.StringArrayVar(&s.groups, "group", nil, "suppose that the user were in this `GROUP`, too")
	f.StringVar(&s.nas, "nas", "", "NAS-Identifier of the server that asks")
	f.StringVar(&s.nasAddress, "nas-address", "", "`ADDRESS` of the server that asks")
	f.BoolVar(&s.foreign, "foreign", false, "the server that asks is no node of ours")
	f.StringVar(&s.tunnel, "tunnel", "PPTP", "type of the tunnel; '' for none")
	f.StringVar(&s.device, "device", "", "`ID` of the device, as a tag in the user's name would say it")
	f.StringVar(&s.client, "client", "", "`NAME` that the client gives itself")
	f.StringVar(&s.version, "client-version", "", "version that the client says it has")
	f.StringVar(&s.key, "key", policy.KeyNTLM.String(), "what the session's keys are made of: none, ntlm or tls")
	f.StringVar(&s.factor, "factor", policy.GivenNone.String(), "the second factor that comes along: none, code, recovery or webauthn")
	f.StringVar(&s.country, "country", "", "suppose that the address were of this country")
	f.Uint32Var(&s.asn, "asn", 0, "suppose that the address were of this autonomous system")
	_ = cmd.MarkFlagRequired("user")
	_ = cmd.RegisterFlagCompletionFunc("key", cobra.FixedCompletions([]string{"none", "ntlm", "tls"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("factor", cobra.FixedCompletions([]string{"none", "code", "recovery", "webauthn"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *cli) supposed(ctx context.Context, s *suppose, args []string) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	name, p, err := c.loadPolicy(args)
	if err != nil {
		return err
	}
	at := time.Now()
	if s.at != "" {
		if at, err = ago(s.at, at); err != nil {
			return fmt.Errorf("--at: %w", err)
		}
	}
	facts, err := s.facts()
	if err != nil {
		return err
	}
	notes, err := c.live(ctx, cfg, s, at, facts)
	if err != nil {
		return err
	}
	x := p.Explain(at, facts)
	return c.show(map[string]any{"file": name, "explanation": &x, "notes": notes}, func(w *tabwriter.Writer) {
		fmt.Fprint(w, x.Sentence, "\n")
		for _, n := range notes {
			fmt.Fprint(w, n, "\n")
		}
		fmt.Fprint(w, x.Details())
	})
}

// facts are those that the flags say.
func (s *suppose) facts() (*policy.Facts, error) {
	f := &policy.Facts{
		NAS: s.nas, Node: !s.foreign, Tunnel: s.tunnel, ClientName: s.client, ClientVersion: s.version, Country: strings.ToUpper(s.country), ASN: s.asn,
	}
	var err error
	if s.source != "" {
		if f.Source, err = netip.ParseAddr(s.source); err != nil {
			return nil, fmt.Errorf("--source: %w", err)
		}
	}
	if s.nasAddress != "" {
		if f.NASAddress, err = netip.ParseAddr(s.nasAddress); err != nil {
			return nil, fmt.Errorf("--nas-address: %w", err)
		}
	}
	key := slices.IndexFunc([]policy.KeyGrade{policy.KeyNone, policy.KeyNTLM, policy.KeyTLS}, func(k policy.KeyGrade) bool { return k.String() == s.key })
	if key < 0 {
		return nil, fmt.Errorf("--key %s: want none, ntlm or tls", s.key)
	}
	given := slices.IndexFunc([]policy.Given{policy.GivenNone, policy.GivenCode, policy.GivenRecovery, policy.GivenWebAuthn}, func(g policy.Given) bool { return g.String() == s.factor })
	if given < 0 {
		return nil, fmt.Errorf("--factor %s: want none, code, recovery or webauthn", s.factor)
	}
	f.Key, f.Given = policy.KeyGrade(key), policy.Given(given) //nolint:gosec // indexes of short lists
	return f, nil
}

// live adds what directories and store know now, and says what else would count.
func (c *cli) live(ctx context.Context, cfg *config.Service, s *suppose, at time.Time, f *policy.Facts) (notes []string, err error) {
	ring, err := service.OpenRing(cfg, false)
	if err != nil {
		return nil, err
	}
	n := mfa.SplitCode(s.user, byte(cfg.MFA.Separator)).Tagged(byte(cfg.MFA.DeviceSeparator))
	tag := n.Device
	if s.device != "" {
		tag = s.device
	}
	if notes, err = accountFacts(ctx, cfg, ring, authz.AskedName(n), f); err != nil {
		return nil, err
	}
	f.Groups = append(f.Groups, s.groups...)
	places, err := geo.Open(string(cfg.Geo.Country), string(cfg.Geo.ASN), nil)
	if err != nil {
		return nil, err
	}
	country, asn := places.Lookup(f.Source)
	f.Country, f.ASN = cmp.Or(f.Country, country), cmp.Or(f.ASN, asn)
	opened, err := c.withFreeStore(cfg, func(st store.Store) error {
		shield, device := service.NewShield(cfg).Ask(f.User, f.Source), posture.Ask(f.User, tag, f.ClientName)
		if err := st.Do(ctx, store.Join(append(shield.Seqs(), device.Seqs()...))...); err != nil {
			return err
		}
		count := shield.Counters()
		f.LastSuccess = count.Last
		f.Risk = policy.Risk{UserFailures: count.User.Failures, SourceFailures: count.Source.Failures, SourceUsers: count.Sprayed.Failures, CodeFailures: count.Codes.Failures}
		f.Device = device.Device(at, f.Source, cfg.Posture.Fresh)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case !opened:
		notes = append(notes, "The store cannot be opened here, where the running service has it to itself or there is none: devices, and what the lockout shield has counted, are not known.")
	case tag != "" && f.Device.ID == "":
		notes = append(notes, "Nothing is known of a device "+tag+".")
	}
	return notes, nil
}

// accountFacts adds what the directories know of a user.
func accountFacts(ctx context.Context, cfg *config.Service, ring *seal.Ring, n directory.Name, f *policy.Facts) ([]string, error) {
	dir, err := service.OpenDirectory(cfg, ring, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f.User, f.Realm = dir.Canonical(n), n.Realm
	a, err := dir.Find(ctx, n)
	if _, no := directory.IsRejected(err); no {
		return []string{"The directories do not know this user: the login would be refused before any policy is asked."}, nil
	}
	if err != nil {
		return nil, err
	}
	f.User, f.Groups = a.Name, slices.Clone(a.Groups)
	if a.Realm != "" {
		f.Realm = a.Realm
	}
	if a.State != directory.Active && a.State != directory.StateUnknown {
		return []string{fmt.Sprintf("The account is %s: the login would be refused before any policy is asked.", a.State)}, nil
	}
	return nil, nil
}
