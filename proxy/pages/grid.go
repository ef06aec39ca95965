package pages

import "time"

// grid is a table whose rows become cards on a narrow screen. All tables of operators are
// one template, since what is generated of each weighs in every sidecar.
type grid struct {
	Label string // for whom does not see what is around it
	Heads []string
	Rows  [][]cell
}

func (g *grid) add(cells ...cell) { g.Rows = append(g.Rows, cells) }

// cell is one of a grid. Whatever of it is empty is not there.
type cell struct {
	Pick  string    // the value of a checkbox; Text then says what of
	Sign  string    // before the text, for the eye
	Class string    // of the text
	Text  string    // the template escapes it; plain is the caller's
	Link  string    // of the text
	Below string    // a second line
	At    time.Time // a third
	Links []anchor
}

// anchor is one of several in a cell.
type anchor struct{ To, Label string }

func text(s string) cell { return cell{Text: s} }

// instant is a cell with a time; none where it is zero.
func instant(at *time.Time) cell {
	if at == nil {
		return cell{}
	}
	return cell{At: *at}
}
