// Command argo-workflows does with a WorkflowTemplate, on its standard input, what Argo Workflows does, by its own code.
//
//	validate                        say what the controller finds wrong with it
//	manifest WORKFLOW [NAME=VALUE]  print the manifest that the executor gets for a Workflow with these parameters
//	wait WORKFLOW PATH              wait for an object of the API server, as the executor does, and print its judgement
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	wfv1 "github.com/argoproj/argo-workflows/v3/pkg/apis/workflow/v1alpha1"
	"github.com/argoproj/argo-workflows/v3/workflow/common"
	"github.com/argoproj/argo-workflows/v3/workflow/executor"
	"github.com/argoproj/argo-workflows/v3/workflow/validate"
	log "github.com/sirupsen/logrus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func main() {
	log.SetOutput(io.Discard)
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, args []string) error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	template := wfv1.WorkflowTemplate{}
	if err := yaml.UnmarshalStrict(text, &template); err != nil {
		return err
	}
	switch command {
	case "validate":
		return validate.ValidateWorkflowTemplate(nil, nil, &template, nil, validate.ValidateOpts{})
	case "manifest":
		made, err := processed(&template, args[0], args[1:])
		if err == nil {
			fmt.Println(made.Resource.Manifest)
		}
		return err
	case "wait":
		made, err := processed(&template, args[0], nil)
		if err != nil {
			return err
		}
		return wait(made, args[1])
	}
	return fmt.Errorf("%s is no command", command)
}

// processed returns the entrypoint as it is for one Workflow: with its parameters in their places.
func processed(template *wfv1.WorkflowTemplate, workflow string, parameters []string) (*wfv1.Template, error) {
	given := map[string]string{}
	for _, each := range parameters {
		name, value, _ := strings.Cut(each, "=")
		given[name] = value
	}
	arguments := template.Spec.Arguments.DeepCopy()
	for i, each := range arguments.Parameters {
		if value, found := given[each.Name]; found {
			arguments.Parameters[i].Value = wfv1.AnyStringPtr(value)
		}
	}
	global := common.Parameters{"workflow.name": workflow}
	entrypoint := template.GetTemplateByName(template.Spec.Entrypoint)
	return common.ProcessArgs(entrypoint, arguments, global, common.Parameters{}, false, template.Namespace, nil)
}

func wait(template *wfv1.Template, path string) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	waiting := executor.WorkflowExecutor{Template: *template, RESTClient: client.RESTClient()}
	if err := waiting.WaitResource(context.Background(), "", path, path); err != nil {
		fmt.Println("failed:", err)
		return nil
	}
	fmt.Println("succeeded")
	return nil
}
