// Package config owns Bosun's configuration: the command line, the KubeletConfiguration file, its drop-in directory, their
// defaults, the order in which one wins over another, and the rules they must keep.
//
// Load does all of it and gives one Config, a plain value. From low to high: built-in defaults, the --config file, the
// --config-dir drop-ins in lexical order, the command line. Everything here is a function over values except disk.go, the
// only file that touches the file system, and only to read the files the command line names.
//
// Where a list grows by one line when something is added, it is a table:
//
//	flags_plain.go, flags_mirror.go   the flags, with usage text and the config field they mirror
//	retired.go                        flags that are gone: accepted, one warning each
//	gates.go                          feature gates: stage, default, locked
//	support.go                        config fields and flags: since which issue Bosun honours them
//	validate_*.go                     what makes a value wrong, and what would be right
package config
