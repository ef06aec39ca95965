package admission

import (
	"context"
	"errors"
	"fmt"
	"testing"

	celgo "github.com/google/cel-go/cel"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/client-go/kubernetes/scheme"
)

// expression is one that is named, or one that says yes or no, or a message.
type expression struct {
	name, text string
	types      []*celgo.Type
}

func (e expression) GetExpression() string      { return e.text }
func (e expression) GetName() string            { return e.name }
func (e expression) ReturnTypes() []*celgo.Type { return e.types }

var (
	anything = []*celgo.Type{celgo.AnyType, celgo.DynType}
	yesNo    = []*celgo.Type{celgo.BoolType}
	message  = []*celgo.Type{celgo.StringType}
)

// evaluator runs both policies as an API server of one version does.
type evaluator struct {
	params     *core.ConfigMap
	mutating   *policy
	validating *policy
}

// policy is a compiled one.
type policy struct {
	compiler   *cel.CompositedCompiler
	conditions cel.ConditionEvaluator
	patchers   []patch.Patcher
	checks     cel.ConditionEvaluator
	messages   cel.ConditionEvaluator
}

// budget is what an API server allows for one policy and one object (RuntimeCELCostBudget); a single
// expression is held to a tenth of it by the environment itself.
const budget = 10_000_000

func compile(t *testing.T, ver *version.Version, params bool, conditions []admissionregistration.MatchCondition, variables []admissionregistration.Variable) (*policy, cel.OptionalVariableDeclarations) {
	t.Helper()
	compiler, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(ver))
	if err != nil {
		t.Fatal(err)
	}
	declared := cel.OptionalVariableDeclarations{HasParams: params}
	for _, v := range variables {
		if r := compiler.CompileAndStoreVariable(expression{v.Name, v.Expression, anything}, declared, environment.NewExpressions); r.Error != nil {
			t.Fatalf("variable %s: %v", v.Name, r.Error)
		}
	}
	// Conditions may not use the variables: they are compiled without them.
	plain, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(ver))
	if err != nil {
		t.Fatal(err)
	}
	var all []cel.ExpressionAccessor
	for _, c := range conditions {
		all = append(all, expression{c.Name, c.Expression, yesNo})
	}
	p := &policy{compiler: compiler, conditions: plain.CompileCondition(all, declared, environment.NewExpressions)}
	if err := errors.Join(p.conditions.CompilationErrors()...); err != nil {
		t.Fatal(err)
	}
	return p, declared
}

func newEvaluator(t *testing.T, p *policies, ver *version.Version) *evaluator {
	t.Helper()
	m, declared := compile(t, ver, true, p.mutating.Spec.MatchConditions, p.mutating.Spec.Variables)
	declared.HasPatchTypes = true
	for _, one := range p.mutating.Spec.Mutations {
		e := m.compiler.CompileMutatingEvaluator(&patch.JSONPatchCondition{Expression: one.JSONPatch.Expression}, declared, environment.NewExpressions)
		if err := errors.Join(e.CompilationErrors()...); err != nil {
			t.Fatal(err)
		}
		m.patchers = append(m.patchers, patch.NewJSONPatcher(e))
	}
	v, declared := compile(t, ver, false, p.validating.Spec.MatchConditions, p.validating.Spec.Variables)
	var checks, messages []cel.ExpressionAccessor
	for _, one := range p.validating.Spec.Validations {
		checks = append(checks, expression{text: one.Expression, types: yesNo})
		if one.MessageExpression == "" {
			one.MessageExpression = fmt.Sprintf("%q", one.Message)
		}
		messages = append(messages, expression{text: one.MessageExpression, types: message})
	}
	v.checks = v.compiler.CompileCondition(checks, declared, environment.NewExpressions)
	v.messages = v.compiler.CompileCondition(messages, declared, environment.NewExpressions)
	if err := errors.Join(append(v.checks.CompilationErrors(), v.messages.CompilationErrors()...)...); err != nil {
		t.Fatal(err)
	}
	return &evaluator{params: &p.params, mutating: m, validating: v}
}

// request is the creation of a pod.
func request(pod *core.Pod) *admission.VersionedAttributes {
	a := admission.NewAttributesRecord(pod, nil, core.SchemeGroupVersion.WithKind("Pod"), "shop", pod.Name,
		core.SchemeGroupVersion.WithResource("pods"), "", admission.Create, &meta.CreateOptions{}, false, nil)
	v := &admission.VersionedAttributes{Attributes: a, VersionedKind: core.SchemeGroupVersion.WithKind("Pod")}
	v.UpdateObject(pod)
	return v
}

func (p *policy) matches(ctx context.Context, a *admission.VersionedAttributes, with cel.OptionalVariableBindings) (bool, error) {
	r := cel.CreateAdmissionRequest(a.Attributes, meta.GroupVersionResource{Version: "v1", Resource: "pods"}, meta.GroupVersionKind{Version: "v1", Kind: "Pod"})
	results, _, err := p.conditions.ForInput(ctx, a, r, with, nil, budget)
	for _, one := range results {
		if one.Error != nil {
			return false, one.Error
		}
		if one.EvalResult.Value() != true {
			return false, err
		}
	}
	return true, err
}

// admit is what becomes of a pod when it is created.
func (e *evaluator) admit(pod *core.Pod) (*core.Pod, string, error) {
	pod = pod.DeepCopy()
	pod.TypeMeta = meta.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	a := request(pod)
	ctx := e.mutating.compiler.CreateContext(context.Background())
	with := cel.OptionalVariableBindings{VersionedParams: e.params}
	matches, err := e.mutating.matches(ctx, a, with)
	if err != nil {
		return nil, "", err
	}
	if matches {
		for _, p := range e.mutating.patchers {
			changed, err := p.Patch(ctx, patch.Request{
				MatchedResource: core.SchemeGroupVersion.WithResource("pods"), VersionedAttributes: a, OptionalVariables: with,
				ObjectInterfaces: admission.NewObjectInterfacesFromScheme(scheme.Scheme),
			}, budget)
			if err != nil {
				return nil, "", err
			}
			pod = changed.(*core.Pod)
			a = request(pod)
		}
	}
	refusal, err := e.validate(a)
	return pod, refusal, err
}

func (e *evaluator) validate(a *admission.VersionedAttributes) (string, error) {
	ctx, with := e.validating.compiler.CreateContext(context.Background()), cel.OptionalVariableBindings{}
	if matches, err := e.validating.matches(ctx, a, with); err != nil || !matches {
		return "", err
	}
	r := cel.CreateAdmissionRequest(a.Attributes, meta.GroupVersionResource{Version: "v1", Resource: "pods"}, meta.GroupVersionKind{Version: "v1", Kind: "Pod"})
	results, left, err := e.validating.checks.ForInput(ctx, a, r, with, nil, budget)
	if err != nil {
		return "", err
	}
	messages, _, err := e.validating.messages.ForInput(ctx, a, r, with, nil, left)
	if err != nil {
		return "", err
	}
	for i, one := range results {
		if one.Error != nil || messages[i].Error != nil {
			return "", errors.Join(one.Error, messages[i].Error)
		}
		if one.EvalResult.Value() != true {
			return messages[i].EvalResult.Value().(string), nil
		}
	}
	return "", nil
}
