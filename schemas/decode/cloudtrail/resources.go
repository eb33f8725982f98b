package cloudtrail

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// awsParameters are request parameters that name a resource, with its kind. Where
// a parameter holds an ARN, the kind is that of the ARN.
var awsParameters = map[string]string{
	// Bedrock, its agents, AgentCore, Q.
	"agentAliasId": "bedrock-agent", "agentId": "bedrock-agent", "agentRuntimeArn": "bedrock-agentcore", "agentRuntimeId": "bedrock-agentcore",
	"gatewayIdentifier": "bedrock-agentcore", "memoryId": "bedrock-agentcore", "codeInterpreterIdentifier": "bedrock-agentcore", "codeInterpreterId": "bedrock-agentcore",
	"browserIdentifier": "bedrock-agentcore", "browserId": "bedrock-agentcore", "workloadName": "bedrock-agentcore", "resourceCredentialProviderName": "bedrock-agentcore",
	"knowledgeBaseId": "bedrock-knowledge-base", "dataSourceId": "bedrock-data-source", "modelId": "model", "guardrailIdentifier": "bedrock-guardrail",
	"flowIdentifier": "bedrock-flow", "promptIdentifier": "bedrock-prompt", "inferenceProfileIdentifier": "model", "endpointName": "sagemaker-endpoint",
	"modelName": "sagemaker-model", "trainingJobName": "sagemaker-job", "notebookInstanceName": "sagemaker-notebook",
	// Compute and containers.
	"instanceId": "instance", "imageId": "image", "volumeId": "volume", "snapshotId": "snapshot", "keyName": "key-pair", "launchTemplateId": "launch-template",
	"autoScalingGroupName": "auto-scaling-group", "functionName": "lambda", "layerName": "lambda-layer", "clusterName": "cluster", "clusterArn": "cluster", "cluster": "cluster",
	"taskDefinition": "task-definition", "repositoryName": "repository", "stackName": "stack", "jobQueue": "job-queue", "jobDefinition": "job-definition",
	"projectName": "project", "stateMachineArn": "state-machine", "executionArn": "execution", "applicationId": "application", "environmentName": "environment",
	// Network.
	"groupId": "security-group", "vpcId": "vpc", "subnetId": "subnet", "routeTableId": "route-table", "networkInterfaceId": "network-interface", "networkAclId": "network-acl",
	"internetGatewayId": "internet-gateway", "natGatewayId": "nat-gateway", "vpcEndpointId": "vpc-endpoint", "vpcPeeringConnectionId": "vpc-peering", "allocationId": "address",
	"transitGatewayId": "transit-gateway", "loadBalancerArn": "load-balancer", "loadBalancerName": "load-balancer", "targetGroupArn": "target-group", "hostedZoneId": "hosted-zone",
	"distributionId": "distribution", "restApiId": "api", "apiId": "api", "certificateArn": "certificate", "webACLId": "web-acl", "domainName": "domain",
	// Data.
	"tableName": "dynamodb", "sourceTableName": "dynamodb", "targetTableName": "dynamodb", "globalTableName": "dynamodb", "dBInstanceIdentifier": "rds", "dBClusterIdentifier": "rds",
	"dBSnapshotIdentifier": "rds-snapshot", "dBClusterSnapshotIdentifier": "rds-snapshot", "sourceDBSnapshotIdentifier": "rds-snapshot", "targetDBSnapshotIdentifier": "rds-snapshot",
	"clusterIdentifier": "redshift", "workgroupName": "redshift", "cacheClusterId": "cache", "fileSystemId": "file-system", "accessPointId": "access-point",
	"databaseName": "database", "workGroup": "athena", "crawlerName": "crawler", "jobName": "job", "streamName": "stream", "streamARN": "stream", "deliveryStreamName": "firehose",
	"backupVaultName": "backup-vault", "recoveryPointArn": "recovery-point", "vaultName": "vault", "indexId": "index", "destinationBucket": "s3", "sourceBucket": "s3",
	"s3BucketName": "s3", "outputS3BucketName": "s3",
	// Messages.
	"queueUrl": "sqs", "queueName": "sqs", "topicArn": "sns", "targetArn": "arn", "eventBusName": "event-bus", "rule": "rule", "identity": "ses-identity",
	"phoneNumber": "phone", "destinationPhoneNumber": "phone", "toAddresses": "email", "ccAddresses": "email", "bccAddresses": "email", "destinations": "email",
	"emailAddress": "email", "destinationEmailAddress": "email",
	// Identity, keys, logs.
	"groupName": "iam-group", "instanceProfileName": "instance-profile", "keyId": "kms", "targetKeyId": "kms", "sourceKeyId": "kms", "destinationKeyId": "kms", "aliasName": "kms",
	"policyArn": "iam", "roleArn": "iam", "roleName": "iam-role", "userName": "iam-user", "serialNumber": "mfa", "sAMLProviderArn": "iam", "openIDConnectProviderArn": "iam",
	"permissionSetArn": "permission-set", "userPoolId": "user-pool", "identityPoolId": "identity-pool", "secretId": "secretsmanager", "logGroupName": "log-group",
	"trailName": "cloudtrail", "eventDataStore": "cloudtrail", "detectorId": "guardduty", "commandId": "ssm-command", "documentName": "ssm-document", "directoryId": "directory",
	"workspaceId": "workspace", "resourceId": "resource", "resourceArn": "arn", "resourceARN": "arn",
}

// parameters are names of parameters with their kinds. Most keys of a request are none:
// their first letter and length mostly tell.
type parameters struct {
	kinds map[string]string
	hints [256]uint64
}

func parametersOf(kinds map[string]string) *parameters {
	p := &parameters{kinds: kinds}
	for name := range kinds {
		if name != "" {
			p.hints[name[0]] |= 1 << (len(name) & 63)
		}
	}
	return p
}

// kind returns the kind of what a parameter names, empty where it names nothing.
func (p *parameters) kind(name string) string {
	if p.hints[name[0]]>>(len(name)&63)&1 == 0 {
		return ""
	}
	return p.kinds[name]
}

// awsNamed is the kind of what the parameter `name` of a service names.
func awsNamed(service string) string {
	service, _, _ = strings.Cut(service, ".")
	switch service {
	case "ssm":
		return "parameter"
	case "events":
		return "rule"
	case "states":
		return "state-machine"
	case "glue":
		return "job"
	case "codebuild":
		return "project"
	case "eks":
		return "cluster"
	case "secretsmanager", "cloudtrail", "athena", "kinesis", "sns", "ses":
		return service
	}
	return ""
}

// resources finds what was touched: the ARNs that AWS lists, and what the request
// names. Its values stay attributes too, where they have context.
func (d *decoder) resources() {
	d.seen.reset()
	if list := d.Ask(aResources); list != jsonscan.None && d.Kind(list) == '[' {
		for c := list + 1; c < d.Next(list); c = d.Next(c) {
			at := d.Get(c, "ARN")
			if at == jsonscan.None {
				at = d.Get(c, "ARNPrefix") // of a list: what begins with it
			}
			d.resource("arn", at, d.Str(at))
			d.Take(at)
		}
	}
	params := d.Ask(aParams)
	if params == jsonscan.None || d.Kind(params) != '{' {
		return
	}
	if bucket := d.Ask(aBucket); bucket != jsonscan.None {
		name, whole, call := d.Str(bucket), true, d.name
		if key := d.Ask(aKey); name != "" && d.Str(key) != "" {
			d.resource("s3", key, d.Mem.Join(name, "/", d.Str(key)))
			whole = false
		}
		if strings.HasPrefix(call, "List") {
			if prefix := d.Get(params, "prefix"); name != "" && d.Str(prefix) != "" {
				d.resource("s3", prefix, d.Mem.Join(name, "/", d.Str(prefix)))
			}
		}
		if whole {
			d.resource("s3", bucket, name)
		}
		if strings.Contains(call, "Copy") {
			if source := d.Get(params, "x-amz-copy-source"); source != jsonscan.None {
				d.resource("s3", source, copied(d.Str(source)))
			}
		}
	}
	if strings.HasPrefix(d.source, "dynamodb.") {
		if items := d.Get(params, "requestItems"); items != jsonscan.None && d.Kind(items) == '{' {
			for c := items + 1; c < d.Next(items); c = d.Next(c) {
				d.resource("dynamodb", c, d.Key(c)) // BatchGetItem, BatchWriteItem
			}
		}
	}
	if kind := awsNamed(d.source); kind != "" {
		d.named(d.Ask(aName), kind)
		d.named(d.Ask(aNames), kind)
	}
	d.below(params)
}

// below looks for names of resources anywhere in the request.
func (d *decoder) below(i int32) {
	for c := i + 1; c < d.Next(i); c++ {
		if key := d.Key(c); key != "" {
			d.named(c, d.params.kind(key))
		} else if bytes.HasPrefix(d.Raw(c), []byte(`"arn:`)) {
			d.named(c, "arn")
		}
	}
}

// named adds the text at i, or the texts of the list there.
func (d *decoder) named(i int32, kind string) {
	if i == jsonscan.None {
		return
	}
	switch d.Kind(i) {
	case '"':
		if s := d.Str(i); kind != "" || strings.HasPrefix(s, "arn:") {
			d.resource(kind, i, s)
		}
	case '[':
		for c := i + 1; c < d.Next(i) && kind != ""; c = d.Next(c) {
			if d.Kind(c) == '"' {
				d.resource(kind, c, d.Str(c))
			}
		}
	}
}

// resource adds one resource, once.
func (d *decoder) resource(kind string, at int32, id string) {
	kind, id = decode.ResourceName(kind, id)
	if id == "" || id == "HIDDEN_DUE_TO_SECURITY_REASONS" || id == "***" || id == "REDACTED" {
		return
	}
	name := d.Mem.Join(kind, ":", id)
	if !d.seen.add(name) {
		return
	}
	if kind == "" {
		name = id
	}
	d.Touch("", name)
	d.From(schemas.FieldResources, at)
}

// copied is the object that a copy is made of: bucket/key, perhaps in the escapes of a
// URL, with a version behind it.
func copied(source string) string {
	source, _, _ = strings.Cut(strings.TrimPrefix(source, "/"), "?versionId=")
	if plain, err := url.PathUnescape(source); err == nil {
		return plain
	}
	return source
}

// stringSet is a set of strings that costs little while they are few.
type stringSet struct {
	few  []string
	many map[string]struct{}
}

const fewStrings = 16

func (s *stringSet) reset() {
	clear(s.few)
	s.few, s.many = s.few[:0], nil
}

// add adds a string, and returns false where it was there.
func (s *stringSet) add(v string) bool {
	if s.many == nil {
		if slices.Contains(s.few, v) {
			return false
		}
		if len(s.few) < fewStrings {
			s.few = append(s.few, v)
			return true
		}
		s.many = make(map[string]struct{}, 2*fewStrings)
		for _, known := range s.few {
			s.many[known] = struct{}{}
		}
	}
	if _, known := s.many[v]; known {
		return false
	}
	s.many[v] = struct{}{}
	return true
}
