// Package translate owns the translation of a pod into what the runtime is asked for: the CRI configuration of its sandbox
// and of each container, with labels and annotations, hostname, DNS, hosts file, mounts, resources and security settings;
// and the way back, from the labels and annotations of something found in the runtime to a pod that can be stopped.
// Pure functions: what the node is like and where volumes are comes in as values.
package translate
