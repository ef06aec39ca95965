package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy/webhook"
)

func webhookCommand() *cli.Command {
	return &cli.Command{
		Name: "webhook", Usage: "sign requests as a sidecar does, and check those it has signed",
		Subcommands: []*cli.Command{signCommand(), verifyRequestCommand()},
	}
}

func secretFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "secret", EnvVars: []string{"PANNIER_WEBHOOK_SECRET"}, Usage: "a `SECRET` such as whsec_…; several where two are valid"}
}

func secretsOf(c *cli.Context) ([]webhook.Secret, error) {
	var out []webhook.Secret
	for _, text := range c.StringSlice("secret") {
		s, err := webhook.ParseSecret(text)
		if err != nil {
			return nil, usageError("--secret: %v", err)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, usageError("no secret").withHint("set --secret / PANNIER_WEBHOOK_SECRET; \"pannier secret list\" says in which file it is")
	}
	return out, nil
}

func signCommand() *cli.Command {
	return &cli.Command{
		Name: "sign", ArgsUsage: "FILE|-", Usage: "print the headers of a request with this body",
		Flags: []cli.Flag{secretFlag(), &cli.StringFlag{Name: "id", Usage: "the webhook-id, for an app to dedupe by (required)"}},
		Action: func(c *cli.Context) error {
			args, err := exactArgs(c)
			if err != nil {
				return err
			}
			secrets, err := secretsOf(c)
			if err != nil {
				return err
			}
			if id := c.String("id"); id == "" || strings.Contains(id, ".") {
				return usageError("sign needs --id ID, without a dot in it")
			}
			body, err := readArgument(c, args[0])
			if err != nil {
				return err
			}
			h := http.Header{}
			webhook.Sign(h, c.String("id"), time.Now(), body, secrets...)
			for _, name := range []string{webhook.HeaderID, webhook.HeaderTimestamp, webhook.HeaderSignature, webhook.HeaderAXP} {
				if _, err := fmt.Fprintf(c.App.Writer, "%s: %s\n", strings.ToLower(name), h.Get(name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func verifyRequestCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", ArgsUsage: "FILE|-", Usage: "check a request as it came, headers and body, and say which check fails",
		Flags: []cli.Flag{secretFlag()},
		Action: func(c *cli.Context) error {
			args, err := exactArgs(c)
			if err != nil {
				return err
			}
			secrets, err := secretsOf(c)
			if err != nil {
				return err
			}
			raw, err := readArgument(c, args[0])
			if err != nil {
				return err
			}
			h, body, err := splitRequest(raw)
			if err != nil {
				return usageError("%s is not a request: %v", args[0], err).withHint("it begins with its headers, an empty line follows, and then the body, byte for byte")
			}
			if err := webhook.Verify(h, body, time.Now(), secrets...); err != nil {
				return &failure{exit: exitRefused, what: "not a valid request", why: err.Error(), code: "signature_invalid"}
			}
			_, err = fmt.Fprintln(c.App.Writer, "valid")
			return err
		},
	}
}

// splitRequest reads a request as it was recorded: a request line, which may be
// missing, headers, an empty line, and the body.
func splitRequest(raw []byte) (http.Header, []byte, error) {
	r := bufio.NewReader(bytes.NewReader(raw))
	if first, _, _ := bytes.Cut(raw, []byte("\n")); bytes.Contains(first, []byte(" HTTP/")) {
		if _, err := r.ReadString('\n'); err != nil {
			return nil, nil, err
		}
	}
	h, err := textproto.NewReader(r).ReadMIMEHeader()
	if err != nil {
		return nil, nil, fmt.Errorf("its headers end in %w", err)
	}
	body, err := io.ReadAll(r)
	return http.Header(h), body, err
}

func readArgument(c *cli.Context, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(c.App.Reader)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, usageError("%v", err)
	}
	return content, nil
}
