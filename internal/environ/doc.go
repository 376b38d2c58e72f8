// Package environ owns the environment of a container: its variables with their order of precedence, the expansion of
// $(VAR) in values, commands and subPathExpr, the downward API (fieldRef, resourceFieldRef, also for volumes), the
// variables of services, and the syntax of env files. Pure functions: objects and file contents come in as Facts.
package environ
