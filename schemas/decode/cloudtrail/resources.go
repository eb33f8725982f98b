package cloudtrail

import (
	"bytes"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// awsParameters are request parameters that name a resource, with its kind. Where
// a parameter holds an ARN, the kind is that of the ARN.
var awsParameters = map[string]string{
	"agentAliasId": "bedrock-agent", "agentId": "bedrock-agent", "agentRuntimeArn": "bedrock-agentcore", "gatewayIdentifier": "bedrock-agentcore",
	"clusterName": "cluster", "commandId": "ssm-command", "dBInstanceIdentifier": "rds", "dBSnapshotIdentifier": "rds-snapshot",
	"documentName": "ssm-document", "domainName": "domain", "functionName": "lambda", "groupId": "security-group", "groupName": "iam-group",
	"imageId": "image", "instanceId": "instance", "instanceProfileName": "instance-profile", "keyId": "kms", "keyName": "key-pair",
	"knowledgeBaseId": "bedrock-knowledge-base", "logGroupName": "log-group", "memoryId": "bedrock-agentcore", "modelId": "model",
	"networkInterfaceId": "network-interface", "policyArn": "iam", "queueUrl": "sqs", "resourceId": "resource", "roleArn": "iam",
	"roleName": "iam-role", "routeTableId": "route-table", "secretId": "secretsmanager", "snapshotId": "snapshot", "stackName": "stack",
	"streamName": "stream", "subnetId": "subnet", "tableName": "dynamodb", "targetArn": "arn", "topicArn": "sns", "trailName": "cloudtrail",
	"userName": "iam-user", "volumeId": "volume", "vpcId": "vpc",
}

// awsNamed is the kind of what the parameter `name` of a service names.
func awsNamed(service string) string {
	switch service {
	case "ssm.amazonaws.com":
		return "parameter"
	case "secretsmanager.amazonaws.com":
		return "secretsmanager"
	case "cloudtrail.amazonaws.com":
		return "cloudtrail"
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
			d.resource("arn", at, d.Str(at))
			d.Take(at)
		}
	}
	params := d.Ask(aParams)
	if params == jsonscan.None || d.Kind(params) != '{' {
		return
	}
	if bucket := d.Ask(aBucket); bucket != jsonscan.None {
		name := d.Str(bucket)
		if key := d.Ask(aKey); key != jsonscan.None && name != "" {
			d.resource("s3", key, d.Mem.Join(name, "/", d.Str(key)))
		} else {
			d.resource("s3", bucket, name)
		}
	}
	if kind := awsNamed(d.Str(d.Ask(aEventSource))); kind != "" {
		d.named(d.Ask(aName), kind)
		d.named(d.Ask(aNames), kind)
	}
	d.below(params)
}

// below looks for names of resources anywhere in the request.
func (d *decoder) below(i int32) {
	for c := i + 1; c < d.Next(i); c++ {
		if key := d.Key(c); key != "" {
			d.named(c, awsParameters[key])
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
	if id == "" {
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
