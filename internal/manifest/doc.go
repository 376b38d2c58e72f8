// Package manifest owns what a pod manifest means: how its text becomes pods (documents), what the fields that were left
// out stand for (Default), what makes a pod wrong (Validate), and how a pod of a file or a URL becomes a pod of this
// node (Static). Read does all of it. The rules are those of the API server and of the upstream kubelet 1.37
// (behaviours 7-12), so that a manifest means the same here and there. Everything is a pure function; every error
// names the origin, the document, the line, the field, the value, and what would be right.
package manifest
