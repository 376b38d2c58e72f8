package testbed

// RemoveCgroups removes the cgroups called name in every hierarchy, with all below. Their processes must be dead.
func RemoveCgroups(name string) error { return removeCgroups(name) }

// UnmountBelow unmounts everything below dir, innermost first.
func UnmountBelow(dir string) error { return unmountBelow(dir) }
