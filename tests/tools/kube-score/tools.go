//go:build tools

// Package tools pins kube-score, which needs older Kubernetes modules than the other tools.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"
