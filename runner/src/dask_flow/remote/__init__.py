"""What a person does with runs in a Kubernetes cluster: start them, look at them, end them. Not what a runner does."""
