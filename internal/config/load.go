package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Env is what Load needs beside the arguments.
type Env struct {
	// Files is where config files are read from; nil means Disk{}.
	Files Files
	// WorkDir is what relative paths on the command line start from. Empty leaves them as they are.
	WorkDir string
	// Operands allows arguments that are not flags, as `bosun up` has; otherwise they are an error, as with upstream.
	Operands bool
}

// Load reads the command line and the files it names and gives the whole configuration, checked. When anything is wrong the
// error is a Problems with everything that is; the Config is then still filled as far as possible, so that its Warnings can
// be shown. --help and --version end the reading before any file is touched.
func Load(args []string, env Env) (*Config, error) {
	if env.Files == nil {
		env.Files = Disk{}
	}
	l := scan(args)
	c := blank()
	legacy(&c.Kubelet)
	fill(&c.Kubelet)
	flagProblems := l.apply(c)
	if c.Help || c.Version != "" {
		return c, nil
	}
	problems := slices.Concat(l.problems, flagProblems)
	for _, r := range l.retired {
		c.Warnings = append(c.Warnings, r.warning())
	}
	c.absolute(env)

	problems = append(problems, c.readFiles(env, l)...)
	for _, f := range l.found {
		c.given["--"+f.flag.name] = true
		if f.flag.field != "" {
			c.given[f.flag.top()] = true
		}
	}
	c.Args = l.operands
	if len(l.operands) > 0 && !env.Operands {
		problems.add("command line", quote(strings.Join(l.operands, " ")), "only flags are taken here; a manifest goes into the directory that --pod-manifest-path names")
	}
	c.Notes = append(c.Notes, deprecationNote(l)...)
	settle(c)
	problems = append(problems, validate(c, fieldFlags(l))...)
	return c, problems.err()
}

// absolute resolves what flags say about places on disk.
func (c *Config) absolute(env Env) {
	paths := append(c.pathFlags(), &c.Kubelet.StaticPodPath)
	for _, p := range paths {
		if *p != "" && env.WorkDir != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(env.WorkDir, *p)
		}
	}
}

// readFiles replaces c.Kubelet by what the files say, with the flags over it. Without files c stays as the flags made it.
func (c *Config) readFiles(env Env, l line) Problems {
	var ps Problems
	fields := object{}
	if c.ConfigFile != "" {
		d, isManifest := c.readConfig(env.Files)
		if isManifest {
			c.takeManifest()
		} else {
			c.Warnings = append(c.Warnings, d.warnings...)
			ps = append(ps, d.problems...)
			fields = d.fields
		}
	}
	if c.ConfigFile == "" && c.ConfigDir == "" {
		return ps
	}
	if c.ConfigFile == "" {
		fields = legacyFields()
	}
	patches, dirProblems := c.readDropIns(env.Files)
	ps = append(ps, dirProblems...)
	for _, patch := range patches {
		fields = merge(fields, patch)
		for name := range patch {
			c.given[name] = true
		}
	}
	fields = merge(object{}, fields)

	manifests := c.Kubelet.StaticPodPath
	c.Kubelet = typed(fields)
	fill(&c.Kubelet)
	if c.ConfigFile != "" && c.Kubelet.EvictionHard == nil {
		c.Kubelet.EvictionHard = hardEviction()
	}
	// The values were already judged when first applied; c's flag-only fields get again what they have, and lose nothing
	// since absolute is run once more.
	configFile := c.ConfigFile
	l.apply(c)
	c.ConfigFile = configFile
	c.absolute(env)
	if configFile == "" && manifests != "" {
		c.Kubelet.StaticPodPath = manifests // --config named manifests
	}
	return ps
}

// legacyFields is what drop-ins without a --config file are laid over.
func legacyFields() object {
	return object{
		"authentication": object{"anonymous": object{"enabled": true}, "webhook": object{"enabled": false}},
		"authorization":  object{"mode": "AlwaysAllow"},
		"readOnlyPort":   int64(10255),
	}
}

// readConfig reads --config. In Kubernetes' first years that flag named manifests, so a directory or a pod means these.
func (c *Config) readConfig(files Files) (d document, isManifest bool) {
	isDir, err := files.IsDir(c.ConfigFile)
	if isDir {
		return d, true
	}
	var data []byte
	if err == nil {
		data, err = files.Read(c.ConfigFile)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.problems.add("--config", quote(c.ConfigFile), "there is no such file; want a KubeletConfiguration file, or a file or directory of pod manifests")
		return d, false
	case err != nil:
		d.problems.add("--config", quote(c.ConfigFile), "cannot be read: "+cause(err))
		return d, false
	case holdsPods(data):
		return d, true
	}
	d = parse(c.ConfigFile, data)
	anchor(d.fields, filepath.Dir(c.ConfigFile))
	for name := range d.fields {
		c.given[name] = true
	}
	return d, false
}

// cause is an error without the path, which the message already names.
func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	return err.Error()
}

// holdsPods reports whether a file is a pod manifest rather than a configuration.
func holdsPods(data []byte) bool {
	var head struct {
		Kind string `json:"kind"`
	}
	if yaml.Unmarshal(data, &head) != nil {
		return false
	}
	switch head.Kind {
	case "Pod", "PodList", "List":
		return true
	}
	return false
}

func (c *Config) takeManifest() {
	named := c.ConfigFile
	c.ConfigFile = ""
	if path := c.Kubelet.StaticPodPath; path != "" && path != named {
		c.Warnings = append(c.Warnings, fmt.Sprintf("--config names pod manifests (%s), and so does --pod-manifest-path (%s); --config is ignored: keep the manifests in one place.", named, path))
		return
	}
	c.Kubelet.StaticPodPath = named
	c.given["staticPodPath"] = true
	c.Warnings = append(c.Warnings, fmt.Sprintf("--config names pod manifests (%s), not a configuration file, and is taken as --pod-manifest-path: use that flag, or staticPodPath in a configuration file.", named))
}

// readDropIns reads every *.conf below --config-dir, in lexical order.
func (c *Config) readDropIns(files Files) (patches []object, ps Problems) {
	if c.ConfigDir == "" {
		return nil, nil
	}
	isDir, err := files.IsDir(c.ConfigDir)
	var paths []string
	if err == nil && isDir {
		paths, err = files.Walk(c.ConfigDir)
	}
	if err != nil || !isDir {
		reason := "is not a directory"
		if err != nil {
			reason = "cannot be read: " + cause(err)
		}
		ps.add("--config-dir", quote(c.ConfigDir), reason+"; want a directory, its *.conf files are read")
		return nil, ps
	}
	for _, path := range paths {
		if filepath.Ext(path) != ".conf" {
			continue
		}
		data, err := files.Read(path)
		if err != nil {
			ps.add(path, "", "cannot be read: "+cause(err))
			continue
		}
		d := parse(path, data)
		anchor(d.fields, filepath.Dir(path))
		c.Warnings = append(c.Warnings, d.warnings...)
		ps = append(ps, d.problems...)
		patches = append(patches, d.fields)
	}
	return patches, ps
}

// deprecationNote is one line for all deprecated flags in use.
func deprecationNote(l line) []string {
	used := map[string]bool{}
	for _, f := range l.found {
		if f.flag.deprecated() {
			used[f.flag.label()] = true
		}
	}
	if len(used) == 0 {
		return nil
	}
	return []string{"Deprecated flags in use, which work but belong into the configuration file: " + strings.Join(slices.Sorted(maps.Keys(used)), ", ") + "."}
}

// fieldFlags says which flag set a config field, so that a complaint names what the user wrote.
func fieldFlags(l line) map[string]string {
	set := map[string]string{}
	for _, f := range l.found {
		if f.flag.field != "" {
			set[f.flag.field] = f.flag.label()
		}
	}
	return set
}
