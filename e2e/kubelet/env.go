package kubelet

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// environment is that of a container, in order: a variable may name earlier ones.
func (p *Pod) environment(c *v1.Container, image Image) (env []string, err error) {
	known := map[string]string{}
	set := func(name, value string) {
		known[name] = value
		env = append(env, name+"="+value)
	}
	for _, kv := range image.Env {
		name, value, _ := strings.Cut(kv, "=")
		set(name, value)
	}
	if len(c.EnvFrom) > 0 {
		return nil, errors.New("envFrom: not done here")
	}
	for _, e := range c.Env {
		value := expand(e.Value, known)
		if e.ValueFrom != nil {
			if value, err = p.valueFrom(c, e.ValueFrom); err != nil {
				return nil, fmt.Errorf("env %s: %w", e.Name, err)
			}
		}
		set(e.Name, value)
	}
	return env, nil
}

// expand puts values in the place of $(NAME). $$ is a $, and what is not known stays.
func expand(text string, known map[string]string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if after, escaped := strings.CutPrefix(rest, "$"); escaped {
			b.WriteByte('$')
			text = after
			continue
		}
		if name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")"); closed && rest[0] == '(' {
			if value, ok := known[name]; ok {
				b.WriteString(value)
			} else {
				b.WriteString("$(" + name + ")")
			}
			text = after
			continue
		}
		b.WriteByte('$')
		text = rest
	}
}

func (p *Pod) valueFrom(c *v1.Container, from *v1.EnvVarSource) (string, error) {
	switch {
	case from.FieldRef != nil:
		return p.field(from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		if named := from.ResourceFieldRef.ContainerName; named != "" && named != c.Name {
			return "", fmt.Errorf("resources of another container (%s): not done here", named)
		}
		return resourceOf(c, from.ResourceFieldRef)
	case from.SecretKeyRef != nil:
		return p.node.value(secretKind, from.SecretKeyRef.Name, from.SecretKeyRef.Key)
	case from.ConfigMapKeyRef != nil:
		return p.node.value(configMapKind, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
	}
	return "", errors.New("this source of a value is not done here")
}

func (p *Pod) field(path string) (string, error) {
	if kind, key, ok := strings.Cut(path, "['"); ok {
		of := map[string]map[string]string{"metadata.labels": p.spec.Labels, "metadata.annotations": p.spec.Annotations}[kind]
		return of[strings.TrimSuffix(key, "']")], nil
	}
	value, ok := map[string]string{
		"metadata.name": p.spec.Name, "metadata.namespace": p.spec.Namespace, "metadata.uid": string(p.spec.UID),
		"status.podIP": p.sandbox.IP, "status.podIPs": p.sandbox.IP, "spec.serviceAccountName": p.spec.Spec.ServiceAccountName,
	}[path]
	if !ok {
		return "", fmt.Errorf("field %s: not done here", path)
	}
	return value, nil
}

// resourceOf rounds up, as Kubernetes does.
func resourceOf(c *v1.Container, ref *v1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list, ok := map[string]v1.ResourceList{"limits": c.Resources.Limits, "requests": c.Resources.Requests}[kind]
	quantity, there := list[v1.ResourceName(name)]
	if !ok || !there {
		return "", fmt.Errorf("resource %s: the container says none", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	return strconv.FormatInt((quantity.MilliValue()+divisor.MilliValue()-1)/divisor.MilliValue(), 10), nil
}
