package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/journal/state"
)

// completeVerb is what the scripts call, with the words of the command line so far, the last
// of them being typed. It prints a candidate a line.
const completeVerb = "__complete"

// completeWithin bounds how long a running sidecar may hold a shell up for ids.
var completeWithin = 200 * time.Millisecond

// scripts are by shell. What begins with an address has a colon, at which bash splits words: the
// line is split anew, and what bash will put before a candidate is cut off it.
var scripts = map[string]string{
	"bash": `_pannier() {
  local line=${COMP_LINE:0:COMP_POINT} words current before
  read -ra words <<< "$line"
  [[ $line == *" " ]] && words+=("")
  current=${words[-1]}
  before=${current%"${current##*[:=]}"}
  mapfile -t COMPREPLY < <(pannier __complete "${words[@]:1}" 2>/dev/null)
  COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o default -F _pannier pannier
`,
	"zsh": `#compdef pannier
_pannier() {
  local -a candidates
  candidates=("${(@f)$(pannier __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n ${candidates[*]} ]]; then compadd -a candidates; else _files; fi
}
compdef _pannier pannier
`,
	"fish": `complete -c pannier -a '(pannier __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	c := &cli.Command{Name: "completion", Usage: "print what makes a shell complete commands, flags, ids, agents and peers"}
	for shell, how := range map[string]string{
		"bash": "source <(pannier completion bash)", "zsh": "source <(pannier completion zsh)", "fish": "pannier completion fish | source",
	} {
		c.Subcommands = append(c.Subcommands, &cli.Command{
			Name: shell, Usage: how,
			Action: func(c *cli.Context) error {
				if _, err := exactArgs(c); err != nil {
					return err
				}
				_, err := fmt.Fprint(c.App.Writer, scripts[shell])
				return err
			},
		})
	}
	slices.SortFunc(c.Subcommands, func(a, b *cli.Command) int { return strings.Compare(a.Name, b.Name) })
	return c
}

// candidates are the ways to go on with the last word.
func candidates(ctx context.Context, app *cli.App, words []string) []string {
	if len(words) == 0 {
		words = []string{""}
	}
	before, current := words[:len(words)-1], words[len(words)-1]
	at := position{commands: app.Commands}
	for _, word := range before {
		at.pass(word)
	}
	var all []string
	switch name, _, inline := strings.Cut(current, "="); {
	case at.expects != "":
		all = at.values(ctx, before, at.expects)
	case inline && strings.HasPrefix(name, "-") && at.command != nil:
		if f := lookupFlag(at.command, strings.TrimLeft(name, "-")); f != nil {
			for _, v := range at.values(ctx, before, placeholder(f)) {
				all = append(all, name+"="+v)
			}
		}
	case strings.HasPrefix(current, "-"):
		all = at.flags()
	case at.command == nil && at.arguments > 0: // no command of ours
	case at.command == nil || len(at.command.Subcommands) > 0:
		for _, c := range at.commands {
			all = append(all, c.Name)
		}
	default:
		all = at.values(ctx, before, at.argument())
	}
	all = slices.DeleteFunc(all, func(c string) bool { return !strings.HasPrefix(c, current) })
	slices.Sort(all)
	return slices.Compact(all)
}

// position is where the words so far have led.
type position struct {
	commands  []*cli.Command // to choose from
	command   *cli.Command   // chosen
	arguments int            // given to it
	expects   string         // placeholder of the value that the last flag wants
}

func (p *position) pass(word string) {
	switch {
	case p.expects != "":
		p.expects = ""
	case strings.HasPrefix(word, "-") && word != "-":
		name, _, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if p.command == nil || inline {
			return
		}
		f := lookupFlag(p.command, name)
		if _, isBool := f.(*cli.BoolFlag); f == nil || isBool {
			return
		}
		if _, optional := optionalValue(f); !optional {
			p.expects = placeholder(f)
		}
	default:
		for _, c := range p.commands {
			if c.HasName(word) {
				p.command, p.commands = c, c.Subcommands
				return
			}
		}
		p.arguments++
	}
}

func (p *position) flags() (all []string) {
	if p.command == nil {
		return []string{"--help"}
	}
	for _, f := range p.command.Flags {
		all = append(all, "--"+f.Names()[0])
	}
	return all
}

// argument is the placeholder of the next argument; the last one of a command may repeat.
func (p *position) argument() string {
	names := strings.Fields(p.command.ArgsUsage)
	switch {
	case p.arguments < len(names):
		return strings.Trim(names[p.arguments], "[]…")
	case len(names) > 0 && strings.HasSuffix(names[len(names)-1], "…"):
		return strings.TrimSuffix(names[len(names)-1], "…")
	}
	return ""
}

// placeholder is the word that stands for a flag's value in its help.
func placeholder(f cli.Flag) string {
	documented, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return "VALUE"
	}
	if parts := strings.Split(documented.GetUsage(), "`"); len(parts) > 1 {
		return parts[1]
	}
	return "VALUE"
}

// values are known ones for a placeholder; none leaves it to the shell, which offers files.
func (p *position) values(ctx context.Context, before []string, of string) (all []string) {
	switch of {
	case "ID":
		if lookupFlag(p.command, "admin") != nil {
			return ask(ctx, before, "admin", deadPath, func(a deadLetters) (ids []string) {
				for _, d := range a.List {
					ids = append(ids, d.ID)
				}
				return ids
			})
		}
		return ask(ctx, before, "addr", "/v1/intents?limit=50", func(a struct{ Intents []intent }) (ids []string) {
			for _, i := range a.Intents {
				ids = append(ids, i.ID)
			}
			return ids
		})
	case "AGENT", "ADDRESS":
		all = ask(ctx, before, "admin", "/v1/admin/agents", func(a agentsAnswer) (agents []string) {
			for _, g := range a.Agents {
				agents = append(agents, g.Agent)
			}
			return agents
		})
		return append(all, ask(ctx, before, "admin", "/v1/admin/peers", func(a peersAnswer) (agents []string) {
			for _, p := range a.Peers {
				agents = append(agents, p.Agents...)
			}
			return agents
		})...)
	case "HOST:PORT":
		return ask(ctx, before, "admin", "/v1/admin/peers", func(a peersAnswer) (addresses []string) {
			for _, p := range a.Peers {
				addresses = append(addresses, p.Address)
			}
			return addresses
		})
	case "BINDING":
		return []string{"configured", "http:http://127.0.0.1:", "poll", "stream"}
	case "STATUS":
		for _, s := range state.Statuses() {
			all = append(all, s.String())
		}
	case "CODE":
		for _, e := range explanations() {
			all = append(all, e.Code)
		}
	case "FORMAT":
		return []string{string(formatJSON), string(formatLines)}
	case "VIEW":
		return []string{compact, interactive, string(formatLines), quiet}
	case "WHEN":
		return []string{"always", "auto", "never"}
	}
	return all
}

// ask takes candidates from the running sidecar that the command line, or the environment, names.
// One that does not answer at once has none.
func ask[T any](ctx context.Context, before []string, flag, path string, read func(T) []string) []string {
	target := map[string]string{"addr": "127.0.0.1:7400", "admin": "127.0.0.1:7402"}[flag]
	if env := os.Getenv("PANNIER_" + strings.ToUpper(flag)); env != "" {
		target = env
	}
	for i, word := range before {
		if name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "="); name == flag && strings.HasPrefix(word, "-") {
			if inline {
				target = value
			} else if i+1 < len(before) {
				target = before[i+1]
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	cl := clientOf(target)
	cl.key = os.Getenv("PANNIER_API_KEY")
	body, err := cl.call(ctx, request{method: http.MethodGet, path: path})
	var answer T
	if err != nil || json.Unmarshal(body, &answer) != nil {
		return nil
	}
	return read(answer)
}
