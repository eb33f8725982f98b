package kafka

import (
	"context"
	"errors"
	"fmt"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/aws_msk_iam_v2"
)

// iam is AWS_MSK_IAM: a request for the cluster, signed with whatever credentials
// AWS's own tools would find on this machine. They are fetched and renewed by AWS's
// library, when a connection is made.
type iam struct{ *aws_msk_iam_v2.Mechanism }

//nolint:contextcheck,nolintlint // contextcheck reads it for the callers: what it waits for is files; of its callers, New connects to nothing
func newIAM(region string) (sasl.Mechanism, error) {
	cfg, err := awsconfig.LoadDefaultConfig(context.Background(), awsconfig.WithRegion(region)) // empty: that of the environment
	if err != nil {
		return nil, fmt.Errorf("kafka.sasl: AWS's config: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New("kafka.sasl.aws_region is missing: neither AWS_REGION nor AWS's config file names one either")
	}
	return iam{aws_msk_iam_v2.NewMechanism(cfg)}, nil
}

// Start signs the request.
func (m iam) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	state, first, err := m.Mechanism.Start(ctx)
	if err != nil {
		return nil, nil, &CredentialsError{fmt.Errorf("from AWS: %w", err)}
	}
	return state, first, nil
}
