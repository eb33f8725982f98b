package decode

import (
	"slices"
	"strings"
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
func (d *CloudTrailDecoder) resources() {
	t := &d.t
	d.seen.reset()
	if list := t.ask(ctResources); list != none && t.nodes[list].kind == '[' {
		for c := list + 1; c < t.nodes[list].next; c = t.nodes[c].next {
			at := t.get(c, "ARN")
			d.resource("arn", at, t.str(at))
			t.take(at)
		}
	}
	params := t.ask(ctParams)
	if params == none || t.nodes[params].kind != '{' {
		return
	}
	if bucket := t.ask(ctBucket); bucket != none {
		name := t.str(bucket)
		if key := t.ask(ctKey); key != none && name != "" {
			d.resource("s3", key, t.mem.join(name, "/", t.str(key)))
		} else {
			d.resource("s3", bucket, name)
		}
	}
	if kind := awsNamed(t.str(t.ask(ctEventSource))); kind != "" {
		d.named(t.ask(ctName), kind)
		d.named(t.ask(ctNames), kind)
	}
	d.below(params)
}

// below looks for names of resources anywhere in the request.
func (d *CloudTrailDecoder) below(i int32) {
	t := &d.t
	for c := i + 1; c < t.nodes[i].next; c++ {
		n := &t.nodes[c]
		switch {
		case n.keyEnd > n.keyStart:
			d.named(c, awsParameters[t.key(c)])
		case n.kind == '"' && strings.HasPrefix(string(t.b[n.start:min(n.end, n.start+5)]), `"arn:`):
			d.named(c, "arn")
		}
	}
}

// named adds the text at i, or the texts of the list there.
func (d *CloudTrailDecoder) named(i int32, kind string) {
	t := &d.t
	if i == none {
		return
	}
	switch t.nodes[i].kind {
	case '"':
		if s := t.str(i); kind != "" || strings.HasPrefix(s, "arn:") {
			d.resource(kind, i, s)
		}
	case '[':
		for c := i + 1; c < t.nodes[i].next && kind != ""; c = t.nodes[c].next {
			if t.nodes[c].kind == '"' {
				d.resource(kind, c, t.str(c))
			}
		}
	}
}

// resource adds one resource, once.
func (d *CloudTrailDecoder) resource(kind string, at int32, id string) {
	kind, id = resourceName(kind, id)
	if id == "" {
		return
	}
	name := d.t.mem.join(kind, ":", id)
	if !d.seen.add(name) {
		return
	}
	if kind == "" {
		name = id
	}
	d.b.touch("", name)
	d.t.from(&d.b, fResources, at)
}

// resourceName names a resource. An ARN has the kind of its service; that of an
// object or bucket becomes s3:bucket/key, as everywhere.
func resourceName(kind, id string) (k, name string) {
	if strings.HasPrefix(id, "arn:") {
		_, rest, _ := strings.Cut(id[len("arn:"):], ":")
		service, rest, _ := strings.Cut(rest, ":")
		_, rest, _ = strings.Cut(rest, ":")
		if _, resource, ok := strings.Cut(rest, ":"); ok && service == "s3" {
			return service, resource
		} else if ok && service != "" {
			return service, id
		}
	}
	return kind, id
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
