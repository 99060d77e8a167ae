package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"postern/authz/posture"
	"postern/authz/posture/importer"
	"postern/cmd/internal/service"
	"postern/internal/config"
	"postern/internal/store"
)

func deviceCommand(c *cli) *cobra.Command {
	return group("device", "Devices, and what is known of them",
		deviceList(c), deviceShow(c), deviceImport(c), deviceRemove(c), deviceTicket(c), deviceRevoke(c))
}

// withPosture opens what is known of devices.
func (c *cli) withPosture(f func(cfg *config.Service, k *posture.Keeper) error) error {
	return c.withStore(func(cfg *config.Service, st store.Store) error {
		return f(cfg, service.NewPosture(st, service.NewSessions(cfg, st)))
	})
}

func deviceList(c *cli) *cobra.Command {
	var user, source string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what each source says of each device",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withPosture(func(_ *config.Service, k *posture.Keeper) error {
				recs, err := k.List(cmd.Context(), user)
				if err != nil {
					return err
				}
				if source != "" {
					recs = slices.DeleteFunc(recs, func(r posture.Record) bool { return r.Source != source })
				}
				return c.showRecords(recs)
			})
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "devices of which this user (canonical `NAME`) is an owner")
	cmd.Flags().StringVar(&source, "source", "", "what this source says only")
	return cmd
}

// showRecords prints records as a table.
func (c *cli) showRecords(recs []posture.Record) error {
	if recs == nil {
		recs = []posture.Record{}
	}
	return c.show(recs, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "DEVICE\tNAME\tSOURCE\tCONFIDENCE\tOWNERS\tAS OF\tOS\tCOMPLIANT\tENCRYPTED\tFIREWALL\tANTIVIRUS")
		for i := range recs {
			r := &recs[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\t%s\t%v\t%v\t%v\t%v\n", r.Device, orDash(r.Name), r.Source, r.Confidence,
				orDash(strings.Join(r.Owners, " ")), moment(r.At), orDash(strings.TrimSpace(r.Facts.OS+" "+r.Facts.OSVersion)),
				r.Facts.Compliant, r.Facts.Encrypted, r.Facts.Firewall, r.Facts.Antivirus)
		}
	})
}

func deviceShow(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show what each source says of a device",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPosture(func(_ *config.Service, k *posture.Keeper) error {
				recs, found, err := k.Get(cmd.Context(), args[0])
				if err == nil && !found {
					err = fmt.Errorf("nothing is known of device %s", args[0])
				}
				if err != nil {
					return err
				}
				return c.showRecords(recs)
			})
		},
	}
}

func deviceRemove(c *cli) *cobra.Command {
	var source string
	cmd := &cobra.Command{
		Use:   "remove ID",
		Short: "Forget what is known of a device",
		Long: "Forget what sources say of a device, until they say it again; sessions that it let in are looked at again. A\n" +
			"computer with an agent reports again: `postern device revoke` is for that.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPosture(func(_ *config.Service, k *posture.Keeper) error {
				var sources []string
				if source != "" {
					sources = []string{source}
				}
				recs, found, err := k.Get(cmd.Context(), args[0])
				switch {
				case err != nil:
					return err
				case !found || source != "" && !slices.ContainsFunc(recs, func(r posture.Record) bool { return r.Source == source }):
					return fmt.Errorf("nothing is known of device %s", args[0])
				}
				if err := k.Remove(cmd.Context(), args[0], sources...); err != nil {
					return err
				}
				return c.say(map[string]any{"device": args[0], "source": source, "done": "removed"}, "%s forgotten", args[0])
			})
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "what this source says only")
	return cmd
}

// refusedRow is a row of a file that is no device.
type refusedRow struct {
	Row int    `json:"row"`
	Why string `json:"why"`
}

// imported is what came of a file.
type imported struct {
	Source  string       `json:"source"`
	Devices int          `json:"devices"`
	Users   int          `json:"users"` // whose sessions are looked at again
	Gone    []string     `json:"gone,omitempty"`
	Refused []refusedRow `json:"refused,omitempty"`
	Dry     bool         `json:"dry_run,omitempty"`
}

func deviceImport(c *cli) *cobra.Command {
	var source, format string
	var o importer.Options
	var dry, full bool
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import what an inventory or an MDM exports",
		Long: "Read a table (CSV) or JSON that another system has exported, and keep what it says of devices under the name of\n" +
			"that source, in the place of what it said before. FILE may be - for standard input. --format is one of " +
			strings.Join(importer.Names(), ", ") + ",\nor a file that says which columns say what. Rows that are no devices are told and left out.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := importFormat(format)
			if err != nil {
				return err
			}
			if source == "" || source == posture.FromAgent || source == posture.FromAD {
				return fmt.Errorf("--source: a name of its own for what the file comes from, not %q", source)
			}
			var r io.Reader = os.Stdin
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				r = file
			}
			o.Source, o.Now = source, time.Now()
			return c.withPosture(func(_ *config.Service, k *posture.Keeper) error {
				done, err := takeIn(cmd.Context(), k, r, f, o, dry, full)
				if err != nil {
					return err
				}
				return c.show(done, func(w *tabwriter.Writer) { done.print(w) })
			})
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "the `NAME` of where it comes from, such as intune")
	cmd.Flags().StringVar(&format, "format", "", "one of "+strings.Join(importer.Names(), ", ")+", or a `FILE`")
	cmd.Flags().StringVar(&o.Domain, "domain", "", "put behind owners' names without one: alice and CORP\\alice are alice@`DOMAIN`")
	cmd.Flags().BoolVar(&o.Bare, "bare", false, "take the domain off owners' names, where canonical names have none")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "read only, and say what would be done")
	cmd.Flags().BoolVar(&full, "full", false, "the file is all that the source knows: forget what it said of other devices")
	return cmd
}

func importFormat(name string) (*importer.Format, error) {
	if f := importer.ByName(name); f != nil {
		return f, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("--format: one of %s, or a file: %w", strings.Join(importer.Names(), ", "), err)
	}
	f, err := importer.ParseFormat(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// batch is how many records are written at once.
const batch = 500

// takeIn reads a file and writes down what it says. With full it forgets, at the end and
// only if all of the file could be read, what the source said of devices that are not in
// it.
func takeIn(ctx context.Context, k *posture.Keeper, r io.Reader, f *importer.Format, o importer.Options, dry, full bool) (*imported, error) {
	done := &imported{Source: o.Source, Dry: dry}
	in, users := make(map[string]bool), make(map[string]bool)
	var recs []posture.Record
	flush := func() error {
		if dry || len(recs) == 0 {
			recs = recs[:0]
			return nil
		}
		changed, err := k.Put(ctx, recs...)
		recs = recs[:0]
		for _, u := range changed {
			users[strings.ToLower(u)] = true
		}
		return err
	}
	err := importer.Read(r, f, o, func(row importer.Row) error {
		if why := row.Refused; why != nil {
			done.Refused = append(done.Refused, refusedRow{row.Number, why.Error()})
			return nil //nolint:nilerr // a row that is refused ends nothing
		}
		in[strings.ToLower(row.Record.Device)] = true
		if recs = append(recs, row.Record); len(recs) < batch {
			return nil
		}
		return flush()
	})
	if err = errors.Join(err, flush()); err != nil {
		return nil, err
	}
	done.Devices = len(in)
	if full {
		all, err := k.List(ctx, "")
		if err != nil {
			return nil, err
		}
		if len(in) == 0 {
			return nil, errors.New("--full: there is no device in the file; nothing is forgotten")
		}
		for _, rec := range all {
			if rec.Source != o.Source || in[strings.ToLower(rec.Device)] {
				continue
			}
			done.Gone = append(done.Gone, rec.Device)
			if dry {
				continue
			}
			if err := k.Remove(ctx, rec.Device, o.Source); err != nil {
				return nil, err
			}
		}
	}
	done.Users = len(users)
	return done, nil
}

func (d *imported) print(w io.Writer) {
	word := "imported"
	if d.Dry {
		word = "would be imported"
	}
	fmt.Fprintf(w, "%d devices of %s %s, of %d users\n", d.Devices, d.Source, word, d.Users)
	if len(d.Gone) > 0 {
		fmt.Fprintf(w, "%d not in the file any more: %s\n", len(d.Gone), strings.Join(d.Gone, " "))
	}
	for _, r := range d.Refused {
		fmt.Fprintf(w, "row %d left out: %s\n", r.Row, r.Why)
	}
}
