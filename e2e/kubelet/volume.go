package kubelet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
)

// files are what a volume holds that is kept up to date, by path.
type files map[string]file

type file struct {
	text []byte
	mode os.FileMode
}

// volumes lays out those of a pod, and returns where each is.
func (p *Pod) layVolumes() error {
	p.volumes = map[string]string{}
	for i := range p.spec.Spec.Volumes {
		v := &p.spec.Spec.Volumes[i]
		dir := filepath.Join(p.dir, "volumes", v.Name)
		switch {
		case v.EmptyDir != nil, v.Ephemeral != nil:
			// Both are the pod's own, and go with it.
		case v.PersistentVolumeClaim != nil:
			dir = p.node.claim(v.PersistentVolumeClaim.ClaimName)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		p.volumes[v.Name] = dir
		if err := p.fill(v, dir); err != nil {
			return fmt.Errorf("volume %s: %w", v.Name, err)
		}
	}
	return nil
}

func (p *Pod) fill(v *v1.Volume, dir string) error {
	switch {
	case v.EmptyDir != nil:
		if err := os.Chmod(dir, 0o777); err != nil {
			return err
		}
		return p.own(dir)
	case v.Ephemeral != nil, v.PersistentVolumeClaim != nil:
		return p.own(dir)
	}
	content, err := p.content(v)
	if err != nil {
		return err
	}
	return p.swap(dir, content)
}

// content is what a volume of files holds now.
func (p *Pod) content(v *v1.Volume) (all files, err error) {
	all = files{}
	switch {
	case v.Secret != nil:
		err = p.collect(all, secretKind, v.Secret.SecretName, v.Secret.Items, v.Secret.DefaultMode)
	case v.ConfigMap != nil:
		err = p.collect(all, configMapKind, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.DefaultMode)
	case v.Projected != nil:
		for _, s := range v.Projected.Sources {
			switch {
			case s.ServiceAccountToken != nil:
				// For the group of the volume, or else for the one user of all containers.
				all[s.ServiceAccountToken.Path] = file{[]byte(Token(p.spec.Namespace, p.spec.Spec.ServiceAccountName, s.ServiceAccountToken.Audience)), 0o600}
			case s.Secret != nil:
				err = p.collect(all, secretKind, s.Secret.Name, s.Secret.Items, v.Projected.DefaultMode)
			case s.ConfigMap != nil:
				err = p.collect(all, configMapKind, s.ConfigMap.Name, s.ConfigMap.Items, v.Projected.DefaultMode)
			default:
				err = errors.New("this projection is not done here")
			}
			if err != nil {
				return nil, err
			}
		}
	default:
		err = errors.New("this kind is not done here")
	}
	return all, err
}

// collect adds the keys of an object: all of them under their names, or those listed.
func (p *Pod) collect(to files, kind, name string, items []v1.KeyToPath, mode *int32) error {
	data, ok := p.node.object(kind, name)
	if !ok {
		return fmt.Errorf("%s %s: there is none", kind, name)
	}
	common := os.FileMode(0o644)
	if mode != nil {
		common = os.FileMode(*mode)
	}
	if items == nil {
		for key := range data {
			items = append(items, v1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		text, ok := data[item.Key]
		if !ok {
			return fmt.Errorf("%s %s: it has no key %s", kind, name, item.Key)
		}
		f := file{text, common}
		if item.Mode != nil {
			f.mode = os.FileMode(*item.Mode)
		}
		to[item.Path] = f
	}
	return nil
}

// swap makes a content the volume's at one stroke: NAME → ..data/NAME, and ..data → a
// directory for each content.
func (p *Pod) swap(dir string, content files) error {
	version, err := os.MkdirTemp(dir, time.Now().UTC().Format("..2006_01_02_15_04_05."))
	if err != nil {
		return err
	}
	if err := os.Chmod(version, 0o755); err != nil {
		return err
	}
	for path, f := range content {
		at := filepath.Join(version, path)
		if err := os.WriteFile(at, f.text, 0o600); err != nil {
			return err
		}
		if p.fsGroup != nil {
			f.mode |= 0o440
			if err := os.Chown(at, -1, int(*p.fsGroup)); err != nil {
				return err
			}
		}
		if err := os.Chmod(at, f.mode); err != nil {
			return err
		}
	}
	data, next := filepath.Join(dir, "..data"), filepath.Join(dir, "..data_tmp")
	before, _ := os.Readlink(data) // none at first
	if err := errors.Join(os.Symlink(filepath.Base(version), next), os.Rename(next, data)); err != nil {
		return err
	}
	for path := range content {
		if err := os.Symlink(filepath.Join("..data", path), filepath.Join(dir, path)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if before == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(dir, before))
}

// own gives a volume that can be written to, and all in it, to the group of the pod,
// unless its root shows that this was done, and that is all the pod wants looked at.
func (p *Pod) own(dir string) error {
	if p.fsGroup == nil {
		return nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	only := p.spec.Spec.SecurityContext.FSGroupChangePolicy
	if only != nil && *only == v1.FSGroupChangeOnRootMismatch && groupOf(info) == *p.fsGroup && info.Mode()&os.ModeSetgid != 0 && info.Mode().Perm()&0o070 == 0o070 {
		return nil
	}
	return filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.Mode()&os.ModeSymlink != 0 {
			return err
		}
		mode := info.Mode() | 0o660
		if info.IsDir() {
			mode |= 0o770 | os.ModeSetgid // what is made in it is the group's
		}
		return errors.Join(os.Lchown(path, -1, int(*p.fsGroup)), os.Chmod(path, mode)) // in this order: a new owner takes bits away
	})
}
