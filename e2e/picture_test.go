package e2e_test

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The README's pictures are made by the scripts of browser/, beside the words that the page had.
// Pixels differ from one Chromium to the next, so what is compared are the words: a picture whose
// words are no longer those of the page is out of date. `go test ./e2e -run TestReadme -update`
// makes it anew.

const (
	pictureColours = 64 // more cannot be told apart in pages that have few
	pictureMost    = 60 << 10
)

// picture is a line of the README with one, at which people act.
var picture = regexp.MustCompile(`^!\[.+\]\((e2e/browser/shots/(\w+)\.png)\)$`)

// play has people act in the pages of dev, as the script of that name does, and compares what they saw.
func (d *dev) play(t *testing.T, name string) {
	t.Helper()
	needModules(t, "browser")
	need(t, false, "chromium")
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), browserTime)
	defer cancel()
	shot := filepath.Join(t.TempDir(), name+".png")
	argv := append(slices.Clone(d.inside), "node", filepath.Join("browser", name+".mjs"), "http://127.0.0.1:7402", shot)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(cleanEnv(), "CHROMIUM="+chromium, "HOME="+t.TempDir())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("in the browser: %v\n%s", err, tail(stderr.String(), 6000))
	}
	kept := filepath.Join("browser", "shots", name)
	got := pageWords(string(said))
	if *updateTranscripts {
		if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept+".txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(kept+".png", fewColours(t, shot), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := readAll(kept + ".txt"); got != want {
		t.Errorf("%s.png is out of date: the page says\n%s\nand when the picture was made it said\n%s\nmake it anew with -update, and look at it", kept, got, want)
	}
	text, err := os.ReadFile(kept + ".png")
	if err != nil {
		t.Fatal(err)
	}
	if made, err := png.DecodeConfig(bytes.NewReader(text)); err != nil || made.Width == 0 || len(text) > pictureMost {
		t.Errorf("%s.png is %d bytes of a picture %+v, %v; want at most %d", kept, len(text), made, err, pictureMost)
	}
}

// pageAges are what a page says of times.
var pageAges = regexp.MustCompile(`just now|\d+ (s|min|ms) ago`)

// pageWords are those of a page without what differs each time.
func pageWords(text string) string {
	text = pageAges.ReplaceAllString(uuid.ReplaceAllString(text, "ID"), "AGO")
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// fewColours is a picture with its most frequent colours alone, and a third of the bytes.
func fewColours(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	full, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	often := map[color.Color]int{}
	bounds := full.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			often[full.At(x, y)]++
		}
	}
	var colours color.Palette
	for c := range often {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.Color) int { return often[b] - often[a] })
	few := image.NewPaletted(bounds, colours[:min(len(colours), pictureColours)])
	draw.Draw(few, bounds, full, bounds.Min, draw.Src)
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
