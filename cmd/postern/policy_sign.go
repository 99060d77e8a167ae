package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"

	"postern/authz/activation"
)

func policyManifest(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "manifest [FILE]",
		Short: "Print what is signed of a policy",
		Long: `manifest prints the text that a signature is over: a line that says what it is, and one
with the SHA-256 of each file. Sign it with one of

  postern policy sign --key ~/.ssh/id_ed25519 policy.yaml
  postern policy manifest policy.yaml | ssh-keygen -Y sign -n postern-policy -f ~/.ssh/id_ed25519 > policy.yaml.sig
  postern policy manifest policy.yaml > m && minisign -Sm m -x policy.yaml.minisig`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			name, err := c.policyFile(args)
			if err != nil {
				return err
			}
			b, err := activation.Collect(name, activation.ReadFile)
			if err != nil {
				return err
			}
			if c.output == "json" {
				return c.show(map[string]any{"file": name, "sum": b.Sum(), "manifest": string(b.Manifest())}, nil)
			}
			_, err = c.out.Write(b.Manifest())
			return err
		},
	}
}

func policySign(c *cli) *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use:   "sign --key KEY [FILE]",
		Short: "Sign a policy with an SSH key, beside it as FILE.sig",
		Long: `sign has ssh-keygen sign the manifest, and puts the signature beside the policy, where
activate and the services look for it. KEY is a private key, or a public one whose private
half an SSH agent or a security key has.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := c.policyFile(args)
			if err != nil {
				return err
			}
			_, p, err := c.loadPolicy([]string{name})
			if err != nil {
				return err
			}
			b, err := activation.Collect(name, activation.ReadFile)
			if err != nil {
				return err
			}
			var sig bytes.Buffer
			sign := exec.CommandContext(cmd.Context(), "ssh-keygen", "-q", "-Y", "sign", "-n", "postern-policy", "-f", key)
			sign.Stdin, sign.Stdout, sign.Stderr = bytes.NewReader(b.Manifest()), &sig, c.errs
			if err := sign.Run(); err != nil {
				return fmt.Errorf("ssh-keygen: %w", err)
			}
			out := name + ".sig"
			keep := keepOwner(out)
			if err := os.WriteFile(out, sig.Bytes(), 0o644); err != nil { // a signature is for all to read
				return err
			}
			if err := keep(); err != nil {
				return err
			}
			return c.say(map[string]any{"file": name, "version": p.Version(), "signature": out}, "%s signed, version %s: %s", name, p.Version(), out)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "SSH `KEY` to sign with")
	_ = cmd.MarkFlagRequired("key")
	_ = cmd.MarkFlagFilename("key")
	return cmd
}
