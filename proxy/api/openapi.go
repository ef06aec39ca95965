package api

import (
	_ "embed"
	"net/http"
	"sync"

	"github.com/goccy/go-yaml"
)

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the description of the app API as JSON. Callers must not
// change it.
var OpenAPI = sync.OnceValues(func() ([]byte, error) { return yaml.YAMLToJSON(openAPI) })

// describe serves GET /openapi.json. A program that looks for the API's
// description has no key yet, and there is nothing secret in it.
func (a *API) describe(w http.ResponseWriter, _ *http.Request) error {
	text, err := OpenAPI()
	if err != nil {
		return err // the file is built in, and tests read it
	}
	return answer(w, &doc{b: text})
}
